# ruby-dbus, whose objects know no method before they were introspected.
require "dbus"

# DBus.system_bus looks at one path only, whatever DBUS_SYSTEM_BUS_ADDRESS says.
bus = DBus::RemoteBus.new(ENV.fetch("DBUS_SYSTEM_BUS_ADDRESS"))
service = bus["com.coreos.update1"]

if ARGV[0] == "all"
  manager = service["/com/coreos/update1"]
  manager.introspect
  manager = manager["com.coreos.update1.Manager"]
  loop = DBus::Main.new
  loop << bus
  asked = false
  manager.on_signal("StatusUpdate") do |_checked, _progress, operation, _version, _size|
    if asked
      puts "signal #{operation}"
      loop.quit if operation == "UPDATE_STATUS_IDLE"
    end
  end
  _checked, _progress, operation, version, _size = manager.GetStatus
  puts "status #{operation} #{version}"
  asked = true
  manager.AttemptUpdate
  loop.run
end

engine = service["/org/updateengine/Engine1"]
engine.introspect
engine = engine["org.updateengine.Engine1"]
puts "version #{engine["RunningVersion"]}"
puts "slots #{engine.all_properties["Slots"].length}"
