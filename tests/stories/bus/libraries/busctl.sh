# busctl, of systemd.
set -eu
name=com.coreos.update1 manager=/com/coreos/update1 engine=/org/updateengine/Engine1

if [[ $1 = all ]]; then
  coproc monitor { exec busctl --system monitor --match "type='signal',interface='$name.Manager'" 2>&1; }
  id=$monitor_PID
  trap 'kill "$id"' EXIT
  while read -r line && [[ $line != Monitoring* ]]; do :; done <&"${monitor[0]}"
  status=$(busctl --system call $name $manager $name.Manager GetStatus)
  [[ $status =~ ^xdssx\ .*\"(UPDATE_[A-Z_]*)\"\ \"([0-9.]*)\" ]]
  echo "status ${BASH_REMATCH[1]} ${BASH_REMATCH[2]}"
  busctl --system call $name $manager $name.Manager AttemptUpdate
  while read -r line; do
    [[ $line =~ STRING\ \"(UPDATE_[A-Z_]*)\" ]] || continue
    echo "signal ${BASH_REMATCH[1]}"
    [[ ${BASH_REMATCH[1]} != UPDATE_STATUS_IDLE ]] || break
  done <&"${monitor[0]}"
  [[ $(busctl --system tree --list $name) == *"$engine/Diagnostics"* ]]
fi
version=$(busctl --system get-property $name $engine org.updateengine.Engine1 RunningVersion)
[[ $version =~ ^s\ \"(.*)\"$ ]]
echo "version ${BASH_REMATCH[1]}"
[[ $(busctl --system introspect $name $engine) =~ \.Slots\ +property\ +aa\{sv\}\ +([0-9]+) ]]
echo "slots ${BASH_REMATCH[1]}"
