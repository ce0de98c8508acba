// Sign-in by SRP, as Cognito does it: the password never leaves the page.
// RFC 5054, with the key derivation of Cognito. The group has 3072 bits (RFC 3526).

const N = BigInt(
  "0xFFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B" +
    "302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE6" +
    "49286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D" +
    "670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718" +
    "3995497CEA956AE515D2261898FA051015728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7D" +
    "B3970F85A6E1E4C7ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C" +
    "BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF",
);
const G = 2n;
const PRIVATE_BYTES = 32;

const encoder = new TextEncoder();

/** The client's half of one sign-in. `publicValue` goes to Cognito as SRP_A. */
export function startSrp() {
  const privateValue = toBigInt(crypto.getRandomValues(new Uint8Array(PRIVATE_BYTES)));
  return { privateValue, publicValue: power(G, privateValue).toString(16) };
}

/** The answers to Cognito's challenge PASSWORD_VERIFIER. */
export async function answerChallenge(srp, parameters, { userPoolId, password, now = new Date() }) {
  const { USER_ID_FOR_SRP: userId, SECRET_BLOCK: secretBlock, SRP_B: serverValue, SALT: salt } = parameters;
  const pool = userPoolId.split("_")[1];
  const identity = await sha256(encoder.encode(`${pool}${userId}:${password}`));
  const key = await deriveKey(srp, BigInt(`0x${serverValue}`), BigInt(`0x${salt}`), identity);
  const timestamp = cognitoTime(now);
  const block = Uint8Array.from(atob(secretBlock), (character) => character.charCodeAt(0));
  const claim = concat(encoder.encode(pool + userId), block, encoder.encode(timestamp));
  return {
    USERNAME: userId,
    TIMESTAMP: timestamp,
    PASSWORD_CLAIM_SECRET_BLOCK: secretBlock,
    PASSWORD_CLAIM_SIGNATURE: btoa(String.fromCharCode(...(await hmac(key, claim)))),
  };
}

async function deriveKey(srp, serverPublic, salt, identity) {
  const clientPublic = BigInt(`0x${srp.publicValue}`);
  const scramble = toBigInt(await sha256(concat(toBytes(clientPublic), toBytes(serverPublic))));
  const secret = toBigInt(await sha256(concat(toBytes(salt), identity)));
  const multiplier = toBigInt(await sha256(concat(toBytes(N), toBytes(G))));
  const base = (((serverPublic - multiplier * power(G, secret)) % N) + N) % N;
  const shared = power(base, srp.privateValue + scramble * secret);
  const extracted = await hmac(toBytes(scramble), toBytes(shared));
  return (await hmac(extracted, encoder.encode("Caldera Derived Key\x01"))).slice(0, 16);
}

function power(base, exponent) {
  let result = 1n;
  for (let square = base % N; exponent > 0n; exponent >>= 1n) {
    if (exponent & 1n) result = (result * square) % N;
    square = (square * square) % N;
  }
  return result;
}

/** `Tue Nov 3 07:05:09 UTC 2026`: the day has no leading zero. */
function cognitoTime(now) {
  const [weekday, day, month, year, time] = now.toUTCString().replace(",", "").split(" ");
  return `${weekday} ${month} ${Number(day)} ${time} UTC ${year}`;
}

/** A number in two's complement, as Java's BigInteger has it. */
function toBytes(number) {
  let hex = number.toString(16);
  if (hex.length % 2) hex = `0${hex}`;
  if (Number.parseInt(hex[0], 16) >= 8) hex = `00${hex}`;
  return Uint8Array.from(hex.match(/../g), (byte) => Number.parseInt(byte, 16));
}

function toBigInt(bytes) {
  return BigInt(`0x${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`);
}

function concat(...parts) {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

async function sha256(bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

async function hmac(key, bytes) {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const imported = await crypto.subtle.importKey("raw", key, algorithm, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, bytes));
}
