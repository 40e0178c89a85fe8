# python3-dbus: watches, asks, has a check made, and reads properties.
import sys

import dbus
from dbus.mainloop.glib import DBusGMainLoop
from gi.repository import GLib

DBusGMainLoop(set_as_default=True)
bus = dbus.SystemBus()
loop = GLib.MainLoop()


def read():
    engine = bus.get_object("com.coreos.update1", "/org/updateengine/Engine1")
    properties = dbus.Interface(engine, "org.freedesktop.DBus.Properties")
    print("version", properties.Get("org.updateengine.Engine1", "RunningVersion"))
    print("slots", len(properties.GetAll("org.updateengine.Engine1")["Slots"]))


def update(checked, progress, operation, version, size):
    if asked:
        print("signal", operation)
        if operation == "UPDATE_STATUS_IDLE":
            loop.quit()


if sys.argv[1] == "all":
    asked = False
    bus.add_signal_receiver(update, "StatusUpdate", "com.coreos.update1.Manager")
    manager = bus.get_object("com.coreos.update1", "/com/coreos/update1")
    manager = dbus.Interface(manager, "com.coreos.update1.Manager")
    checked, progress, operation, version, size = manager.GetStatus()
    print("status", operation, version)
    asked = True
    manager.AttemptUpdate(reply_handler=lambda: None, error_handler=print)
    loop.run()
read()
