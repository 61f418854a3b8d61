// Camera, microphone, screen: what this browser can give, and how loud it is.

import { stored } from "./dom.js";

/** @typedef {{video: boolean, audio: boolean}} Wanted */

const VIDEO = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };
const AUDIO = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };

/** Whether there can be a camera at all. */
export const canCapture = () => !!navigator.mediaDevices?.getUserMedia;
export const canShareScreen = () => !!navigator.mediaDevices && "getDisplayMedia" in navigator.mediaDevices;

/** The local camera and microphone: one stream whose tracks come and go. */
export class LocalMedia {
  stream = new MediaStream();
  /** Why something asked for is missing, in words. */
  problem = "";

  get video() { return this.stream.getVideoTracks()[0] ?? null; }
  get audio() { return this.stream.getAudioTracks()[0] ?? null; }
  get micOn() { return !!this.audio?.enabled; }
  get cameraOn() { return !!this.video; }

  /** @param {Wanted} wanted what to have from here on, as far as there is any */
  async open({ video, audio }) {
    this.problem = "";
    if (!canCapture()) {
      this.problem = "This browser gives no access to cameras here.";
      return;
    }
    const wants = [{ video, audio }];
    if (video && audio) wants.push({ video: false, audio: true }, { video: true, audio: false });
    for (const want of wants) {
      try {
        const got = await navigator.mediaDevices.getUserMedia({ video: want.video && constraints("video"), audio: want.audio && constraints("audio") });
        for (const track of got.getTracks()) this.#put(track);
        return;
      } catch (error) {
        this.problem ||= explain(error, want);
      }
    }
  }

  /** @param {MediaStreamTrack} track */
  #put(track) {
    for (const old of this.stream.getTracks()) {
      if (old.kind !== track.kind) continue;
      track.enabled = old.enabled;
      this.#end(old);
    }
    if (track.kind === "video") track.contentHint = "motion";
    this.stream.addTrack(track);
    track.onended = () => { this.stream.removeTrack(track); this.onchange(); };
  }

  /** Called when a device goes by itself. */
  onchange = () => {};

  /** @param {MediaStreamTrack} track */
  #end(track) {
    track.onended = null;
    track.stop();
    this.stream.removeTrack(track);
  }

  closeVideo() { if (this.video) this.#end(this.video); }
  close() { for (const track of this.stream.getTracks()) this.#end(track); }

  /** @param {"video" | "audio"} kind @param {string} deviceId */
  async choose(kind, deviceId) {
    stored.set(kind === "video" ? "camera" : "mic", deviceId);
    // Some systems cannot open two cameras at once.
    if (kind === "video") this.closeVideo();
    await this.open({ video: kind === "video", audio: kind === "audio" });
  }
}

/** @param {"video" | "audio"} kind */
function constraints(kind) {
  const id = stored.get(kind === "video" ? "camera" : "mic", "");
  return { ...(kind === "video" ? VIDEO : AUDIO), ...(id && { deviceId: { ideal: id } }) };
}

/** @param {any} error @param {Wanted} want */
function explain(error, want) {
  const what = want.video && want.audio ? "camera and microphone" : want.video ? "camera" : "microphone";
  switch (error?.name) {
    case "NotAllowedError": return `The browser was not allowed to use the ${what}. Allow it in the address bar, or just watch.`;
    case "NotFoundError": case "OverconstrainedError": return `No ${what} found. You can still watch and chat.`;
    case "NotReadableError": case "AbortError": return `Another program holds the ${what}.`;
    default: return `The ${what} did not start: ${error?.message ?? error}`;
  }
}

/** @returns {Promise<Record<"videoinput" | "audioinput" | "audiooutput", MediaDeviceInfo[]>>} */
export async function devices() {
  const all = canCapture() ? await navigator.mediaDevices.enumerateDevices().catch(() => []) : [];
  const of = (/** @type {string} */ kind) => all.filter((d) => d.kind === kind && d.deviceId);
  return { videoinput: of("videoinput"), audioinput: of("audioinput"), audiooutput: of("audiooutput") };
}

/** How loud a local stream is, 0 to 1. */
export class Meter {
  /** @type {AudioContext | null} */ #context = null;
  /** @type {AnalyserNode | null} */ #analyser = null;
  #samples = new Float32Array(512);
  /** @type {MediaStreamTrack | null} */ #track = null;

  /** @param {MediaStreamTrack | null} track */
  level(track) {
    if (track !== this.#track) this.#listen(track);
    if (!track?.enabled || !this.#analyser) return 0;
    this.#analyser.getFloatTimeDomainData(this.#samples);
    let sum = 0;
    for (const s of this.#samples) sum += s * s;
    return Math.min(1, Math.sqrt(sum / this.#samples.length) * 2);
  }

  /** @param {MediaStreamTrack | null} track */
  #listen(track) {
    this.close();
    this.#track = track;
    if (!track) return;
    this.#context = new AudioContext();
    this.#context.resume().catch(() => {});
    this.#analyser = this.#context.createAnalyser();
    this.#context.createMediaStreamSource(new MediaStream([track])).connect(this.#analyser);
  }

  close() {
    this.#context?.close().catch(() => {});
    this.#context = this.#analyser = this.#track = null;
  }
}
