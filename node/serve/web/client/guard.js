// Rooms that want a token: exchanges it for an admission of this peer, and asks the server about others.

const WITHIN = 5000; // ms for an answer
const RENEW = 200_000; // ms until an admission, which lasts three times as long, is fetched anew

/** The server said no, and will again. */
export class Refused extends Error {}

/**
 * What may be done here.
 * @typedef {{publish: boolean, watch: boolean, hub: boolean}} Grant
 */
export class Guard {
  /** Of this peer, once it is admitted. @type {Grant | null} */ grant = null;
  /** The server's hub in the room, as the server itself says. @type {string | null} */ hub = null;
  #fetched = -Infinity;
  #path;
  #token;
  #fetch;

  /** @param {{room: string, token: string, base?: string, fetch?: typeof globalThis.fetch}} options */
  constructor({ room, token, base = "", fetch = globalThis.fetch.bind(globalThis) }) {
    this.#path = `${base}/api/v1/rooms/${encodeURIComponent(room)}`;
    this.#token = token;
    this.#fetch = fetch;
  }

  /** Whether it is time for admit. */
  get stale() { return Date.now() - this.#fetched > RENEW; }

  /**
   * Has the hub enter the room, and gets what goes into this peer's metadata. Fails with Refused if the token is no good.
   * @param {string} peer its id @returns {Promise<string>}
   */
  async admit(peer) {
    this.#fetched = Date.now(); // a server that fails is not asked all the time
    const entered = await this.#post("", {});
    const answer = await this.#post("/admission", { peer });
    this.hub = entered.hub && typeof entered.id === "string" ? entered.id : null;
    this.grant = { publish: answer.publish === true, watch: answer.watch === true, hub: answer.hub === true };
    return String(answer.admission ?? "");
  }

  /**
   * Whether to connect to another peer: to a hub that the server vouches for; in a room without the server's hub also to
   * whoever may both publish and watch, since nobody stands between.
   * @param {{id: string, metadata: any}} remote
   */
  async verify({ id, metadata }) {
    if (!this.grant) return false;
    if (this.hub !== null && id === this.hub) return true;
    if (this.hub !== null && metadata?.hub !== true) return false; // no need to ask
    if (typeof metadata?.admission !== "string") return false;
    const theirs = await this.#post("/verify", { peer: id, admission: metadata.admission }).catch(() => null);
    if (metadata.hub === true) return theirs?.hub === true;
    return theirs?.publish === true && theirs?.watch === true;
  }

  /** @param {string} path @param {any} body */
  async #post(path, body) {
    const response = await this.#fetch(this.#path + path, {
      method: "POST", body: JSON.stringify(body), signal: AbortSignal.timeout(WITHIN),
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${this.#token}` },
    });
    const answer = await response.json().catch(() => ({}));
    if (response.ok) return answer;
    const text = String(answer?.detail ?? `status ${response.status}`);
    throw response.status === 401 || response.status === 403 ? new Refused(text) : new Error(text);
  }
}
