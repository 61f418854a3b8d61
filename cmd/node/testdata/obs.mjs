// Publishes as OBS does, with its library: H264 and Opus by libdatachannel's own
// packetizers under the payload types 96 and 111, no candidates in the offer and
// none later, sender reports, a NACK buffer, and no ear for key picture requests.
// Like OBS it takes nothing but 201 and 200, and drops the query of Location.
//
//   node obs.mjs TOOLS URL TOKEN CLIP.h264
//
// Prints a JSON object a line, and ends with standard input, by DELETE.
import { createRequire } from 'node:module';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';

const [tools, url, token, clip] = process.argv.slice(2);
const rtc = createRequire(resolve(tools, 'package.json'))('node-datachannel');
const say = (what) => console.log(JSON.stringify(what));
const authorization = { Authorization: `Bearer ${token}` };

/** The pictures of an H264 stream; each begins with an access unit delimiter. */
function pictures(file) {
  const delimiter = Buffer.from([0, 0, 0, 1, 9]);
  const all = [];
  for (let at = file.indexOf(delimiter); at >= 0;) {
    const next = file.indexOf(delimiter, at + delimiter.length);
    all.push(file.subarray(at, next < 0 ? file.length : next));
    at = next;
  }
  return all;
}

function track(pc, media, packetizer, config) {
  packetizer.addToChain(new rtc.RtcpSrReporter(config));
  packetizer.addToChain(new rtc.RtcpNackResponder());
  const t = pc.addTrack(media);
  t.setMediaHandler(packetizer);
  return t;
}

const pc = new rtc.PeerConnection('obs', { iceServers: [], disableAutoNegotiation: true });
pc.onStateChange((state) => say({ state }));

const audio = new rtc.Audio('0', 'SendOnly');
audio.addOpusCodec(111);
audio.addSSRC(1001, 'obs', 'obs', 'obs-audio');
const audioConfig = new rtc.RtpPacketizationConfig(1001, 'obs', 111, 48000);
const audioTrack = track(pc, audio, new rtc.RtpPacketizer(audioConfig), audioConfig);

const video = new rtc.Video('1', 'SendOnly');
video.addH264Codec(96);
video.addSSRC(1002, 'obs', 'obs', 'obs-video');
const videoConfig = new rtc.RtpPacketizationConfig(1002, 'obs', 96, 90000);
const videoTrack = track(pc, video, new rtc.H264RtpPacketizer('StartSequence', videoConfig, 1200), videoConfig);

const offer = await new Promise((done) => {
  pc.onLocalDescription((sdp) => done(sdp));
  pc.setLocalDescription('offer');
});
const answer = await fetch(url, {
  method: 'POST',
  headers: { 'Content-Type': 'application/sdp', ...authorization },
  body: offer.split(/\r?\n/).filter((line) => !line.startsWith('a=candidate:') && line !== 'a=end-of-candidates').join('\r\n'),
});
say({ status: answer.status });
const session = new URL(answer.headers.get('Location'), url);
session.search = '';
pc.setRemoteDescription(await answer.text(), 'answer');

const all = pictures(readFileSync(clip));
const begin = Date.now();
let sent = 0;
let sounds = 0;
const clock = setInterval(() => {
  const now = Date.now() - begin;
  for (; sent * 1000 < now * 30; sent++) {
    videoConfig.timestamp = sent * 3000;
    if (videoTrack.isOpen()) videoTrack.sendMessageBinary(all[sent % all.length]);
  }
  for (; sounds * 20 < now; sounds++) {
    audioConfig.timestamp = sounds * 960;
    if (audioTrack.isOpen()) audioTrack.sendMessageBinary(Buffer.from([0xf8, 0xff, 0xfe])); // silence
  }
}, 10);

process.stdin.resume();
process.stdin.on('end', async () => {
  clearInterval(clock);
  const end = await fetch(session, { method: 'DELETE', headers: authorization });
  say({ deleted: end.status });
  pc.close();
  rtc.cleanup();
});
