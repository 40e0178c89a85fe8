# python3-dasbus, which makes its objects from what they answer to Introspect.
import sys

from dasbus.connection import SystemMessageBus
from dasbus.loop import EventLoop

bus = SystemMessageBus()
loop = EventLoop()


def read():
    engine = bus.get_proxy("com.coreos.update1", "/org/updateengine/Engine1")
    print("version", engine.RunningVersion)
    print("slots", len(engine.GetAll("org.updateengine.Engine1")["Slots"]))


def update(checked, progress, operation, version, size):
    if asked:
        print("signal", operation)
        if operation == "UPDATE_STATUS_IDLE":
            loop.quit()


if sys.argv[1] == "all":
    asked = False
    manager = bus.get_proxy("com.coreos.update1", "/com/coreos/update1", "com.coreos.update1.Manager")
    manager.StatusUpdate.connect(update)
    checked, progress, operation, version, size = manager.GetStatus()
    print("status", operation, version)
    asked = True
    manager.AttemptUpdate()
    loop.run()
read()
