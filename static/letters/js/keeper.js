/** Sends a confirmed drawing, so that one answer is stored once however often it has to be sent. */

import { keepDrawing, newKey } from "./api.js";

const STALE_TOKEN = new Set(["token_expired", "token_invalid", "token_unknown_model", "token_mismatch"]);

/** The key under which this letter of this drawing is sent: the same while both stay the same. */
export const attemptFor = (known, character) => (known?.character === character ? known : { character, key: newKey() });

/**
 * Store `character` for the drawing that `read(isFresh)` has read, by the words of the consent that were read. Where the token of a reading is stale (expired, or the
 * model was exchanged), the drawing is read once more and sent again under the same key.
 */
export async function keep(attempt, read, consentVersion) {
  const send = ({ payload, result }) =>
    keepDrawing({ ...payload, character: attempt.character, token: result.token, consent: true, consent_version: consentVersion }, attempt.key);
  const reading = await read(false);
  try {
    return await send(reading);
  } catch (error) {
    if (STALE_TOKEN.has(error.code)) return send(await read(true));
    if (error.code !== "idempotency_conflict") throw error;
    attempt.key = newKey(); // the key stands for a drawing that was sent from here in another form
    return send(reading);
  }
}
