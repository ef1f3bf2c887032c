// Requests to the node's API. Errors are Faults with words for people; status 0: no answer came.

export class Fault extends Error {
  constructor(status, { code = "", message, hint = "" }) {
    super([message, hint].filter(Boolean).join(" "));
    this.status = status;
    this.code = code;
    this.words = message;
    this.hint = hint;
  }
}

// What a refusal says: the API's, the playlists' and the media's look alike.
export function faultIn(status, text) {
  try {
    return new Fault(status, JSON.parse(text).error);
  } catch { // not our error shape: the status has to do
    return new Fault(status, { message: `The node answered ${status}.` });
  }
}

export const faultOf = async (answer) => faultIn(answer.status, await answer.text().catch(silent));

function silent() {
  throw new Fault(0, { message: "The node does not answer.", hint: "Try again in a moment." });
}

// fetch(), whose own errors look like those of a script that is wrong.
export const ask = (path, options = {}) => fetch(path, { cache: "no-store", ...options }).catch(silent);

// GET, or POST where there is a body.
export async function api(path, body) {
  const answer = await ask(`/api/v1/${path}`, body && {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!answer.ok) throw await faultOf(answer);
  if (answer.status === 204) return null;
  const text = await answer.text().catch(silent);
  try {
    return JSON.parse(text);
  } catch { // a proxy's page, say
    throw new Fault(answer.status, { message: "What answered is not the node." });
  }
}

// What went wrong, in words for people. What is no Fault is a mistake of this page.
export function wordsOf(fault) {
  if (fault instanceof Fault) return fault.message;
  console.error(fault);
  return "This page has failed. Reload it; the browser’s console says why.";
}
