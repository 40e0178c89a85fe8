# python3-pydbus, which makes its objects from what they answer to Introspect.
import sys

from gi.repository import GLib
from pydbus import SystemBus

bus = SystemBus()
loop = GLib.MainLoop()


def read():
    engine = bus.get("com.coreos.update1", "/org/updateengine/Engine1")
    print("version", engine.RunningVersion)
    print("slots", len(engine.GetAll("org.updateengine.Engine1")["Slots"]))


def update(checked, progress, operation, version, size):
    if asked:
        print("signal", operation)
        if operation == "UPDATE_STATUS_IDLE":
            loop.quit()


if sys.argv[1] == "all":
    asked = False
    manager = bus.get("com.coreos.update1", "/com/coreos/update1")["com.coreos.update1.Manager"]
    manager.StatusUpdate.connect(update)
    checked, progress, operation, version, size = manager.GetStatus()
    print("status", operation, version)
    asked = True
    manager.AttemptUpdate()
    loop.run()
read()
