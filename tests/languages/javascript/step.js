// Makes the HTTP calls that its input lists, with `fetch`, and says what came.

async function call({ method = 'GET', url, headers = [], body, timeout_ms }) {
  const signal = timeout_ms === undefined ? undefined : AbortSignal.timeout(timeout_ms);
  const response = await fetch(url, { method, headers, body, signal });
  const text = await response.text();
  if (!response.ok) throw { error: `States.Http.StatusCode.${response.status}`, cause: text };
  return { status: response.status, body: text };
}

async function calls({ calls, at_once }) {
  if (at_once) return Promise.all(calls.map(call));
  const answers = [];
  for (const one of calls) answers.push(await call(one));
  return answers;
}

export const handler = {
  async run(context, input) {
    try {
      return JSON.stringify(await calls(JSON.parse(input)));
    } catch (failure) {
      if (failure.error) throw failure;
      throw { error: `JavaScript.${failure.name}`, cause: String(failure) };
    }
  },
};
