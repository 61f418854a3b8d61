// A client of WHIP and WHEP, as a page has one: candidates trickle by PATCH, ICE
// restarts, layers are chosen and events heard. For whip_e2e_test.go.
window.client = {
  /** Publishes the camera and the microphone; in three layers if wanted, for which Chromium wants 960 x 540. */
  async publish(path, simulcast) {
    const pc = this.connect();
    const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 960, height: 540 }, audio: true });
    for (const track of stream.getTracks()) {
      const init = { direction: 'sendonly', streams: [stream] };
      if (simulcast && track.kind === 'video') {
        init.sendEncodings = [
          { rid: 'q', scaleResolutionDownBy: 4 }, { rid: 'h', scaleResolutionDownBy: 2 }, { rid: 'f' },
        ];
      }
      pc.addTransceiver(track, init);
    }
    await this.begin(path);
  },

  /** Plays into an element of the page. */
  async play(path) {
    const pc = this.connect();
    const video = document.createElement('video');
    Object.assign(video, { muted: true, autoplay: true });
    document.body.append(video);
    video.srcObject = new MediaStream();
    pc.ontrack = ({ track }) => video.srcObject.addTrack(track);
    for (const kind of ['audio', 'video']) pc.addTransceiver(kind, { direction: 'recvonly' });
    await this.begin(path);
  },

  connect() {
    this.pc = new RTCPeerConnection();
    this.waiting = [];
    this.pc.onicecandidate = ({ candidate }) => {
      this.waiting.push(candidate?.candidate ? `a=${candidate.candidate}` : 'a=end-of-candidates');
      if (this.session && !this.restarting) this.trickle();
    };
    return this.pc;
  },

  /** The first value of an attribute. */
  attribute: (sdp, name) => sdp.split(/\r?\n/).find((line) => line.startsWith(`a=${name}:`)),

  fragment(sdp, lines) {
    return [this.attribute(sdp, 'ice-ufrag'), this.attribute(sdp, 'ice-pwd'), 'm=audio 9 UDP/TLS/RTP/SAVPF 0',
      this.attribute(sdp, 'mid'), ...lines, ''].join('\r\n');
  },

  async request(method, path, type, body, headers = {}) {
    const answer = await fetch(path, { method, body, headers: { ...(type && { 'Content-Type': type }), ...headers } });
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
    return answer;
  },

  async begin(path) {
    await this.pc.setLocalDescription();
    const answer = await this.request('POST', path, 'application/sdp', this.pc.localDescription.sdp);
    this.etag = answer.headers.get('ETag');
    this.links = answer.headers.get('Link') ?? '';
    this.session = answer.headers.get('Location');
    await this.pc.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
    await this.trickle();
  },

  async trickle() {
    const lines = this.waiting.splice(0);
    if (!lines.length) return;
    await this.request('PATCH', this.session, 'application/trickle-ice-sdpfrag',
      this.fragment(this.pc.localDescription.sdp, lines), { 'If-Match': this.etag });
  },

  /** Restarts ICE; true if the credentials of both sides are new. */
  async restart() {
    const before = this.attribute(this.pc.remoteDescription.sdp, 'ice-ufrag');
    this.restarting = true;
    this.pc.restartIce();
    const offer = await this.pc.createOffer();
    await this.pc.setLocalDescription(offer);
    const answer = await this.request('PATCH', this.session, 'application/trickle-ice-sdpfrag',
      this.fragment(offer.sdp, []), { 'If-Match': '*' });
    if (answer.status !== 200) throw new Error(`restart is answered with ${answer.status}`);
    this.etag = answer.headers.get('ETag');
    const fragment = await answer.text();
    const candidates = fragment.split('\r\n').filter((line) => line.startsWith('a=candidate:'));
    let first = true;
    const sdp = this.pc.remoteDescription.sdp.split('\r\n').flatMap((line) => {
      if (line.startsWith('a=candidate:')) return [];
      if (line.startsWith('a=ice-ufrag:')) return [this.attribute(fragment, 'ice-ufrag')];
      if (line.startsWith('a=ice-pwd:')) return [this.attribute(fragment, 'ice-pwd')];
      if (line.startsWith('a=mid:') && first) {
        first = false;
        return [line, ...candidates];
      }
      return [line];
    }).join('\r\n');
    await this.pc.setRemoteDescription({ type: 'answer', sdp });
    this.restarting = false;
    await this.trickle();
    return this.attribute(sdp, 'ice-ufrag') !== before;
  },

  /** Chooses a layer by the extension link. */
  async layer(choice) {
    await this.request('POST', this.link('layer'), 'application/json', JSON.stringify(choice));
  },

  link(name) {
    const [, path] = this.links.match(new RegExp(`<([^>]*)>; rel="urn:ietf:params:whep:ext:core:${name}"`)) ?? [];
    return path;
  },

  /** The first event of a name. */
  event(name) {
    return new Promise((resolve, reject) => {
      const source = new EventSource(this.link('server-sent-events'));
      source.addEventListener(name, ({ data }) => { source.close(); resolve(JSON.parse(data)); });
      source.onerror = () => { source.close(); reject(new Error('no events')); };
    });
  },

  /** The layers of the video that come, by the event. */
  async layers() {
    return Object.values(await this.event('layers'))[0]?.active ?? [];
  },

  /** Whether a layer is what is seen now, by the event and by what is decoded. */
  async gets(encoding) {
    const now = (await this.layers()).find(({ current }) => current);
    return now?.encodingId === encoding && now.width === (await this.received()).width;
  },

  /** What comes: pictures decoded, their width, and whether there is sound. */
  async received() {
    const out = { frames: 0, width: 0, audio: 0, codec: '' };
    const all = await this.pc.getStats();
    for (const s of all.values()) {
      if (s.type !== 'inbound-rtp') continue;
      if (s.kind === 'audio') out.audio = s.packetsReceived;
      else Object.assign(out, { frames: s.framesDecoded ?? 0, width: s.frameWidth ?? 0, codec: all.get(s.codecId)?.mimeType });
    }
    return out;
  },

  /** Waits for so many more pictures, and for sound. */
  async flow(frames) {
    const before = (await this.received()).frames;
    for (;;) {
      const now = await this.received();
      if (now.frames - before >= frames && now.audio > 0) return now;
      await new Promise((resolve) => { setTimeout(resolve, 100); });
    }
  },

  async end() {
    await this.request('DELETE', this.session);
    this.pc.close();
  },
};
