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

export const faultOf = async (answer) => faultIn(answer.status, await answer.text());

// GET, or POST where there is a body.
export async function api(path, body) {
  const answer = await fetch(`/api/v1/${path}`, {
    cache: "no-store",
    ...(body && {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    }),
  }).catch(() => {
    throw new Fault(0, { message: "The node does not answer.", hint: "Try again in a moment." });
  });
  if (!answer.ok) throw await faultOf(answer);
  return answer.status === 204 ? null : answer.json();
}
