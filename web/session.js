// Who is signed in. Signs people in with Cognito, keeps the access token fresh, and says when the session ends.
// The tokens stay in this window's sessionStorage. They survive a reload, and go when the window closes. So two people
// can use two windows of one browser. localStorage would give the tokens to all windows, and to the next person.

import { Offline, SignInError } from "./errors.js";
import { answerChallenge, startSrp } from "./srp.js";

const STORAGE_KEY = "cruddur-session";
const REFRESH_MS = 60_000; // before the end of a token

export class Session {
  #cognito;
  #state; // { username, accessToken, refreshToken, expiresAt (ms), userUuid }
  #renewal = null; // the renewal that is under way; all requests share it
  #isEnded = false;
  #resolveEnded;
  /** Resolves to the reason in words, which is empty if the person signed out, when the session ends. */
  ended = new Promise((resolve) => (this.#resolveEnded = resolve));

  constructor(cognito, state) {
    this.#cognito = cognito;
    this.#save(state);
  }

  /** `cognito` is `{ endpoint, user_pool_id, client_id }` of GET /api/client-config. Throws SignInError, Offline. */
  static async signIn(cognito, username, password) {
    const srp = startSrp();
    const challenge = await call(cognito, "InitiateAuth", {
      ClientId: cognito.client_id,
      AuthFlow: "USER_SRP_AUTH",
      AuthParameters: { USERNAME: username, SRP_A: srp.publicValue },
    });
    const options = { userPoolId: cognito.user_pool_id, password };
    const result = await call(cognito, "RespondToAuthChallenge", {
      ClientId: cognito.client_id,
      ChallengeName: challenge.ChallengeName,
      ChallengeResponses: await answerChallenge(srp, challenge.ChallengeParameters, options),
    });
    if (!result.AuthenticationResult) {
      throw new SignInError(`This page cannot sign you in: Cognito asks for ${result.ChallengeName}.`);
    }
    return new Session(cognito, { username, ...toTokens(result.AuthenticationResult) });
  }

  /** The session that this window had before a reload, or null. */
  static restore(cognito) {
    const json = sessionStorage.getItem(STORAGE_KEY);
    return json ? new Session(cognito, JSON.parse(json)) : null;
  }

  /** The name with which the person signed in. */
  get username() {
    return this.#state.username;
  }

  /** The user's uuid in the API, or undefined until the API has named it. It is not the token's `sub`. */
  get userUuid() {
    return this.#state.userUuid;
  }

  set userUuid(userUuid) {
    this.#save({ ...this.#state, userUuid });
  }

  /** An access token that is valid now. `renew` gets a new one, after a 401. Throws SignInError, Offline. */
  async accessToken({ renew = false } = {}) {
    if (renew || Date.now() > this.#state.expiresAt - REFRESH_MS) {
      this.#renewal ??= this.#renew().finally(() => (this.#renewal = null));
      await this.#renewal;
    }
    if (this.#isEnded) throw new SignInError("You were signed out. Please sign in again.");
    return this.#state.accessToken;
  }

  end(reason) {
    this.#isEnded = true;
    sessionStorage.removeItem(STORAGE_KEY);
    this.#resolveEnded(reason);
  }

  signOut() {
    const body = { ClientId: this.#cognito.client_id, Token: this.#state.refreshToken };
    call(this.#cognito, "RevokeToken", body).catch(() => {}); // offline, the window at least forgets it
    this.end("");
  }

  async #renew() {
    try {
      const result = await call(this.#cognito, "InitiateAuth", {
        ClientId: this.#cognito.client_id,
        AuthFlow: "REFRESH_TOKEN_AUTH",
        AuthParameters: { REFRESH_TOKEN: this.#state.refreshToken },
      });
      this.#save({ ...this.#state, ...toTokens(result.AuthenticationResult) });
    } catch (error) {
      if (error instanceof SignInError) this.end("You were signed out. Please sign in again.");
      throw error;
    }
  }

  #save(state) {
    this.#state = state;
    if (!this.#isEnded) sessionStorage.setItem(STORAGE_KEY, JSON.stringify(state));
  }
}

/** A renewal has no new refresh token: the old one stays. */
function toTokens({ AccessToken, RefreshToken, ExpiresIn }) {
  const tokens = { accessToken: AccessToken, expiresAt: Date.now() + ExpiresIn * 1000 };
  return RefreshToken ? { ...tokens, refreshToken: RefreshToken } : tokens;
}

async function call(cognito, action, body) {
  let response;
  try {
    response = await fetch(`${cognito.endpoint}/`, {
      method: "POST",
      headers: {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": `AWSCognitoIdentityProviderService.${action}`,
      },
      body: JSON.stringify(body),
    });
    const text = await response.text();
    if (response.ok) return text ? JSON.parse(text) : {};
    if (response.status < 500) throw new SignInError(JSON.parse(text).message ?? "Cognito refused the sign-in.");
  } catch (error) {
    if (error instanceof SignInError) throw error;
    throw new Offline(error.message);
  }
  throw new Offline(`Cognito responded with ${response.status}.`);
}
