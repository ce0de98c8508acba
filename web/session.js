// Who is signed in. Signs people in with Cognito and keeps the access token fresh.
// The tokens stay in this window's sessionStorage, so that two people can use two windows of one browser.

import { answerChallenge, startSrp } from "./srp.js";

const STORAGE_KEY = "cruddur-session";
const REFRESH_MS = 60_000; // before the end of a token

/** Cognito refused the user name, the password or the session. */
export class SignInError extends Error {}

export class Session {
  #cognito;
  #tokens; // { accessToken, refreshToken, expiresAt (ms) }
  #refresh = null; // the refresh that is under way; requests share it

  constructor(cognito, tokens) {
    this.#cognito = cognito;
    this.#save(tokens);
  }

  /** `cognito` is `{ endpoint, user_pool_id, client_id }` of GET /api/client-config. Throws SignInError. */
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
    if (!result.AuthenticationResult) throw new SignInError(`Cognito asks for ${result.ChallengeName}.`);
    return new Session(cognito, toTokens(result.AuthenticationResult));
  }

  /** The session that this window had before a reload, or null. */
  static restore(cognito) {
    const stored = sessionStorage.getItem(STORAGE_KEY);
    return stored ? new Session(cognito, JSON.parse(stored)) : null;
  }

  signOut() {
    sessionStorage.removeItem(STORAGE_KEY);
  }

  /** An access token that is valid now. `renew` gets a new one, for example after a 401. Throws SignInError. */
  async accessToken({ renew = false } = {}) {
    if (renew || Date.now() > this.#tokens.expiresAt - REFRESH_MS) {
      this.#refresh ??= this.#renew().finally(() => (this.#refresh = null));
      await this.#refresh;
    }
    return this.#tokens.accessToken;
  }

  async #renew() {
    const { refreshToken } = this.#tokens;
    const result = await call(this.#cognito, "InitiateAuth", {
      ClientId: this.#cognito.client_id,
      AuthFlow: "REFRESH_TOKEN_AUTH",
      AuthParameters: { REFRESH_TOKEN: refreshToken },
    });
    this.#save({ refreshToken, ...toTokens(result.AuthenticationResult) });
  }

  #save(tokens) {
    this.#tokens = tokens;
    sessionStorage.setItem(STORAGE_KEY, JSON.stringify(tokens));
  }
}

function toTokens({ AccessToken, RefreshToken, ExpiresIn }) {
  const tokens = { accessToken: AccessToken, expiresAt: Date.now() + ExpiresIn * 1000 };
  return RefreshToken ? { ...tokens, refreshToken: RefreshToken } : tokens;
}

async function call(cognito, action, body) {
  const response = await fetch(`${cognito.endpoint}/`, {
    method: "POST",
    headers: {
      "Content-Type": "application/x-amz-json-1.1",
      "X-Amz-Target": `AWSCognitoIdentityProviderService.${action}`,
    },
    body: JSON.stringify(body),
  });
  const result = await response.json();
  if (response.ok) return result;
  if (response.status < 500) throw new SignInError(result.message ?? "Cognito refused the sign-in.");
  throw new Error(`Cognito responded with ${response.status}.`);
}
