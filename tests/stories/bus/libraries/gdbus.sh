# gdbus, of GLib.
set -eu
name=com.coreos.update1 manager=/com/coreos/update1 engine=/org/updateengine/Engine1
call() { gdbus call --system --dest $name --object-path "$1" --method "$2" "${@:3}"; }

if [[ $1 = all ]]; then
  coproc monitor { exec gdbus monitor --system --dest $name --object-path $manager; }
  id=$monitor_PID
  trap 'kill "$id"' EXIT
  while read -r line && [[ $line != *"is owned by"* ]]; do :; done <&"${monitor[0]}"
  status=$(call $manager $name.Manager.GetStatus)
  [[ $status =~ \'(UPDATE_[A-Z_]*)\',\ \'([0-9.]*)\' ]]
  echo "status ${BASH_REMATCH[1]} ${BASH_REMATCH[2]}"
  call $manager $name.Manager.AttemptUpdate >/dev/null
  while read -r line; do
    [[ $line =~ StatusUpdate\ .*\'(UPDATE_[A-Z_]*)\' ]] || continue
    echo "signal ${BASH_REMATCH[1]}"
    [[ ${BASH_REMATCH[1]} != UPDATE_STATUS_IDLE ]] || break
  done <&"${monitor[0]}"
  tree=$(gdbus introspect --system --dest $name --object-path / --recurse)
  [[ $tree = *"interface $name.Manager"* && $tree = *"interface org.updateengine.Control1"* ]]
fi
version=$(call $engine org.freedesktop.DBus.Properties.Get org.updateengine.Engine1 RunningVersion)
[[ $version =~ \'(.*)\' ]]
echo "version ${BASH_REMATCH[1]}"
# The values, too.
slots=$(gdbus introspect --system --dest $name --object-path $engine | grep ' Slots = ')
echo "slots $(grep -o "'partuuid'" <<<"$slots" | wc -l)"
