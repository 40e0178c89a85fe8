# Makes pairs of images of two versions of Debian packages, as releases of an image-based system differ.
#
#   bash pairs.sh WORK LIST
#
# WORK then holds btrfs-{old,again,libraries,kernel,new}.img, {ext4,squashfs,erofs}-{old,new}.img, and
# kernel-{old,new}. What is there already is kept. The packages are downloaded with apt-get (APT_CONFIG may name
# the sources of another release), and unpacked, not installed. Needs root: btrfs is filled by the kernel.
set -euo pipefail
work=$1 list=$(realpath "$2")
mkdir -p "$work"
cd "$work"
mkdir -p debs sysexts
export LC_ALL=C

file_of() { # NAME=VERSION
    local version=${1#*=}
    echo debs/"${1%%=*}_${version//:/%3a}"_*.deb
}

# Column 2 is the older version.
packages() { # GROUP COLUMN
    awk -v group="$1" -v column="$2" '$1 == group { print $column }' "$list"
}

download() {
    local missing=() package
    for package in $(awk '$1 !~ /^#/ { for (i = 2; i <= NF; i++) print $i }' "$list"); do
        [ -e "$(file_of "$package")" ] || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] || (cd debs && apt-get download -qq "${missing[@]}")
}

unpack() { # DIRECTORY PACKAGE...
    local into=$1 package
    shift
    for package; do dpkg-deb -x "$(file_of "$package")" "$into"; done
    rm -rf "$into"/usr/share/{doc,man,locale,lintian}
}

# As Flatcar has its extensions: a squashfs without compression.
sysext() { # GROUP COLUMN
    local out=sysexts/$1-$2.raw
    if [ ! -e "$out" ]; then
        unpack part $(packages "$1" "$2")
        mksquashfs part "$out" -noI -noD -noF -noX -no-progress -quiet -mkfs-time 0 -all-time 0
        rm -rf part
    fi >&2
    echo "$out"
}

# The tree of a release, whose groups have these versions.
tree() { # LINUX EXTENSIONS LIBRARIES REST
    local group
    rm -rf tree part
    mkdir -p tree/boot tree/lib/modules tree/share/flatcar/sysext
    cp -al common/usr/. tree/
    unpack part $(packages linux "$1")
    cp -a part/usr/lib/modules/. tree/lib/modules/ 2>/dev/null || cp -a part/lib/modules/. tree/lib/modules/
    cp part/boot/vmlinuz-* tree/boot/vmlinuz
    cp part/boot/config-* tree/boot/config
    cp part/boot/System.map-* tree/boot/System.map
    rm -rf part
    for group in docker containerd; do
        cp -a "$(sysext $group "$2")" tree/share/flatcar/sysext/$group-flatcar.raw
    done
    unpack part $(packages libraries "$3") $(packages month "$4")
    # Not through the links into `common`.
    (cd part/usr && find . ! -type d -print0) | (cd tree && xargs -0 rm -f)
    cp -a part/usr/. tree/
    rm -rf part
}

# The hash tree lies behind the file system, with a superblock, as Flatcar's.
verity() { # IMAGE
    local size
    size=$(stat -c %s "$1")
    veritysetup format --hash=sha256 --data-block-size=4096 --hash-block-size=4096 \
        --data-blocks=$((size / 4096)) --hash-offset="$size" "$1" "$1" >/dev/null
}

done_with() { # DRAFT IMAGE
    truncate -s %4096 "$1"
    verity "$1"
    mv "$1" "$2"
}

# By the kernel, as Flatcar does.
btrfs() { # IMAGE
    [ ! -e "$1" ] || return 0
    truncate -s 720M draft.img
    mkfs.btrfs -q --mixed -m single -d single draft.img
    mkdir -p mount
    mount -o loop draft.img mount
    trap 'umount mount' EXIT
    btrfs_property mount compression zstd
    cp -a tree/. mount/
    btrfs_property mount ro true
    umount mount
    trap - EXIT
    done_with draft.img "$1"
}

btrfs_property() {
    command btrfs property set "$@"
}

# Modules unpacked, and the extensions' programs as files: what other file systems are filled with.
plain() {
    local raw
    find tree/lib/modules -name '*.ko.xz' -print0 | xargs -0 -n 50 xz -d -f
    for raw in tree/share/flatcar/sysext/*.raw; do
        unsquashfs -q -n -d part "$raw" >/dev/null
        cp -a part/usr/. tree/
        rm -rf part "$raw"
    done
}

others() { # VERSION
    local uuid=6f5a0d5e-0000-4000-8000-000000000001
    if [ ! -e "ext4-$1.img" ]; then
        truncate -s 900M draft.img
        mkfs.ext4 -q -b 4096 -O ^has_journal -m 0 -U $uuid -d tree \
            -E hash_seed=$uuid,lazy_itable_init=0,root_owner=0:0 draft.img
        done_with draft.img "ext4-$1.img"
    fi
    if [ ! -e "squashfs-$1.img" ]; then
        mksquashfs tree draft.img -comp zstd -Xcompression-level 9 -mkfs-time 0 -no-progress -quiet
        done_with draft.img "squashfs-$1.img"
    fi
    if [ ! -e "erofs-$1.img" ]; then
        mkfs.erofs --quiet -zlz4hc,9 -C65536 -T0 -U $uuid draft.img tree
        done_with draft.img "erofs-$1.img"
    fi
}

[ ! -e complete ] || exit 0
download
rm -rf common
unpack common $(packages common 2)
tree 2 2 2 2
cp tree/boot/vmlinuz kernel-old
btrfs btrfs-old.img
btrfs btrfs-again.img
plain
others old
tree 2 2 3 2
btrfs btrfs-libraries.img
tree 3 2 3 2
btrfs btrfs-kernel.img
tree 3 3 3 3
cp tree/boot/vmlinuz kernel-new
btrfs btrfs-new.img
plain
others new
rm -rf common tree sysexts draft.img mount
touch complete
