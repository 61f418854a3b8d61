// Golden data of the wire protocol, shared with the Go packages.
import { readFileSync } from "node:fs";

export const vectors = JSON.parse(readFileSync(new URL("../../../../testdata/vectors.json", import.meta.url), "utf8"));
export const bytes = (hex) => Uint8Array.from(Buffer.from(hex, "hex"));
export const hex = (b) => Buffer.from(b).toString("hex");

const CURVE = { name: "ECDH", namedCurve: "P-256" };

/** A key pair by its name in the golden data. */
export async function keyPair(name) {
  const { d, ...open } = vectors.keys[name].jwk;
  return {
    privateKey: await crypto.subtle.importKey("jwk", { ...open, d }, CURVE, true, ["deriveBits"]),
    publicKey: await crypto.subtle.importKey("jwk", open, CURVE, true, []),
  };
}
