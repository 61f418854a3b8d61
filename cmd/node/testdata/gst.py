"""A client of WHIP and WHEP made of GStreamer's webrtcbin.

    python3 gst.py publish URL [vp8|vp9|h264]     a test picture and a tone
    python3 gst.py play URL [vp8|vp9|h264]        decode what comes

Prints a JSON object a line: {"state": ...}, and when playing {"frames": n} with
the number of decoded pictures so far. Ends with standard input, by DELETE.

libnice leaves loopback out: the server has to be reached by another address.
Certificates are not checked.
"""
import json
import ssl
import sys
import threading
import urllib.parse
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

VIDEO = {
    "vp8": ("vp8enc deadline=1 keyframe-max-dist=30 ! rtpvp8pay", "VP8", 96),
    "vp9": ("vp9enc deadline=1 keyframe-max-dist=30 ! rtpvp9pay", "VP9", 98),
    "h264": ("x264enc tune=zerolatency speed-preset=ultrafast key-int-max=30 bframes=0"
             " ! video/x-h264,profile=baseline ! rtph264pay config-interval=-1 aggregate-mode=zero-latency", "H264", 102),
}

# Without it an offer means packetization mode 0, which few send (RFC 6184 section 8.1).
H264 = ("", ",packetization-mode=(string)1,profile-level-id=(string)42e01f")


def say(**what):
    print(json.dumps(what), flush=True)


def caps(kind, name, pt, rate):
    return f"application/x-rtp,media={kind},encoding-name={name},payload={pt},clock-rate={rate}"


class Client:
    def __init__(self, action, url, codec="vp8"):
        self.url, self.session, self.frames, self.offered = url, None, 0, False
        if action == "publish":
            encoder, name, pt = VIDEO[codec]
            self.pipe = Gst.parse_launch(
                "webrtcbin name=rtc bundle-policy=max-bundle "
                "videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=15/1 "
                f"! {encoder} pt={pt} ! {caps('video', name, pt, 90000)} ! rtc. "
                "audiotestsrc is-live=true ! audioconvert ! audioresample ! opusenc ! rtpopuspay pt=111 "
                f"! {caps('audio', 'OPUS', 111, 48000)},encoding-params=(string)2 ! rtc.")
            self.rtc = self.pipe.get_by_name("rtc")
            for i in range(2):
                self.rtc.emit("get-transceiver", i).set_property(
                    "direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
        else:
            self.pipe = Gst.Pipeline.new()
            self.rtc = Gst.ElementFactory.make("webrtcbin", "rtc")
            self.rtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
            self.pipe.add(self.rtc)
            _, name, pt = VIDEO[codec]
            for c in (caps("audio", "OPUS", 111, 48000), caps("video", name, pt, 90000) + H264[codec == "h264"]):
                self.rtc.emit("add-transceiver", GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY, Gst.Caps.from_string(c))
            self.rtc.connect("pad-added", self.arrived)
        self.rtc.connect("on-negotiation-needed", self.negotiate)
        self.rtc.connect("notify::ice-gathering-state", self.gathered)
        self.rtc.connect("notify::connection-state", lambda e, _: say(state=e.get_property("connection-state").value_nick))

    def arrived(self, _, pad):
        """Decodes a stream that comes."""
        if pad.get_property("direction") != Gst.PadDirection.SRC:
            return
        decode = Gst.ElementFactory.make("decodebin")
        self.pipe.add(decode)
        decode.connect("pad-added", self.decoded)
        decode.sync_state_with_parent()
        pad.link(decode.get_static_pad("sink"))

    def decoded(self, _, pad):
        sink = Gst.ElementFactory.make("fakesink")
        sink.set_property("sync", False)
        self.pipe.add(sink)
        sink.sync_state_with_parent()
        pad.link(sink.get_static_pad("sink"))
        if pad.get_current_caps().get_structure(0).get_name().startswith("video/"):
            sink.set_property("signal-handoffs", True)
            sink.connect("handoff", self.count)

    def count(self, *_):
        self.frames += 1
        if self.frames % 10 == 0:
            say(frames=self.frames)

    # webrtcbin crashes where a promise, its reply or a description is let go.

    def negotiate(self, rtc):
        if self.offered:
            return
        self.offered = True
        self.promise = Gst.Promise.new_with_change_func(self.offer, None)
        rtc.emit("create-offer", None, self.promise)

    def offer(self, promise, *_):
        promise.wait()
        self.reply = promise.get_reply()
        self.description = self.reply["offer"]
        done = Gst.Promise.new()
        self.rtc.emit("set-local-description", self.description, done)
        done.interrupt()

    def gathered(self, rtc, _):
        if rtc.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            GLib.idle_add(self.exchange)

    def request(self, method, url, body=None, **headers):
        r = urllib.request.Request(url, data=body, method=method, headers=headers)
        return urllib.request.urlopen(r, context=ssl._create_unverified_context())

    def exchange(self):
        offer = self.rtc.get_property("local-description").sdp.as_text()
        answer = self.request("POST", self.url, offer.encode(), **{"Content-Type": "application/sdp"})
        self.session = urllib.parse.urljoin(self.url, answer.headers["Location"])
        _, self.message = GstSdp.SDPMessage.new_from_text(answer.read().decode())
        self.answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, self.message)
        done = Gst.Promise.new()
        self.rtc.emit("set-remote-description", self.answer, done)
        done.interrupt()
        return False

    def run(self):
        loop = GLib.MainLoop()
        threading.Thread(target=lambda: (sys.stdin.read(), GLib.idle_add(loop.quit)), daemon=True).start()
        self.pipe.set_state(Gst.State.PLAYING)
        loop.run()
        if self.session:
            say(deleted=self.request("DELETE", self.session).status)


if __name__ == "__main__":
    Gst.init(None)
    Client(*sys.argv[1:]).run()
