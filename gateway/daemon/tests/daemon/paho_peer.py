"""Eclipse Paho's client, for tests: subscribes, publishes what it then has to get back, and says so.

    paho_peer.py PORT VERSION TRANSPORT [USER PASSWORD]

VERSION is 311 or 5, TRANSPORT tcp or websockets. It ends with 0 once everything has come, and with 1
and a reason if not.
"""

import sys
import threading

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

WAIT = 20
SIZES = [0, 1, 20_000, 200_000]


def main(port, version, transport, *login):
    protocol = {"311": mqtt.MQTTv311, "5": mqtt.MQTTv5}[version]
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2, "paho", protocol=protocol, transport=transport
    )
    if transport == "websockets":
        client.ws_set_options(path="/mqtt")
    if login:
        client.username_pw_set(*login)
    state = {"got": [], "problem": None}
    done = threading.Event()

    def connected(client, userdata, flags, reason, properties):
        if reason.is_failure:
            state["problem"] = f"refused: {reason}"
            return done.set()
        client.subscribe("paho/#", qos=2)

    def subscribed(client, userdata, mid, reasons, properties):
        for number, size in enumerate(SIZES):
            more = None
            if version == "5":
                more = Properties(PacketTypes.PUBLISH)
                more.ContentType = "text/plain"
                more.ResponseTopic = "answers"
                more.CorrelationData = bytes([number])
            client.publish(f"paho/{number}", b"x" * size, qos=number % 3, properties=more)

    def message(client, userdata, message):
        number = int(message.topic.rsplit("/", 1)[1])
        if len(message.payload) != SIZES[number]:
            state["problem"] = f"{message.topic} has {len(message.payload)} bytes"
        if version == "5":
            more = message.properties
            if (more.ContentType, more.ResponseTopic) != ("text/plain", "answers"):
                state["problem"] = f"{message.topic} has lost its properties: {more}"
            if more.CorrelationData != bytes([number]):
                state["problem"] = f"{message.topic} has lost its correlation"
        state["got"].append(number)
        if state["problem"] or len(state["got"]) == len(SIZES):
            done.set()

    client.on_connect, client.on_subscribe, client.on_message = connected, subscribed, message
    client.connect("127.0.0.1", int(port))
    client.loop_start()
    if not done.wait(WAIT):
        state["problem"] = f"only {sorted(state['got'])} came"
    client.disconnect()
    client.loop_stop()
    if not state["problem"] and sorted(state["got"]) != list(range(len(SIZES))):
        state["problem"] = f"{sorted(state['got'])} came"
    return state["problem"]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
