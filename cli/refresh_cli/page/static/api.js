// Requests to the server of the page, with the token of its link.

const TOKEN = 'refresh-token';

/** Take the token from the address, once, and remove it from there, so that no history or screenshot has it. Return whether it had one. */
export function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get('token');
  if (!given) return false;
  localStorage.setItem(TOKEN, given);
  history.replaceState(null, '', `${location.pathname}#/`);
  return true;
}

/** An error of a request. `kind`: its name; `action`: what to do about it. */
export class RequestError extends Error {
  constructor(status, kind, message, action = '', fields = []) {
    super(message);
    Object.assign(this, { status, kind, action, fields });
  }
  /** Whether the same request may work later without any change to it. */
  get isTransient() {
    return this.status >= 500 || this.status === 429 || ['credentials', 'offline', 'permission'].includes(this.kind);
  }
}

export async function get(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== '');
  const text = new URLSearchParams(given.sort(([a], [b]) => (a < b ? -1 : 1))).toString();
  return send('GET', text ? `${path}?${text}` : path);
}

export async function post(path, body = undefined, headers = {}) {
  return send('POST', path, body, headers);
}

async function send(method, path, body, headers = {}) {
  const sent = { Authorization: `Bearer ${localStorage.getItem(TOKEN) ?? ''}`, ...headers };
  if (body !== undefined) sent['Content-Type'] = 'application/json';
  let response;
  try {
    response = await fetch(path, { method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw new RequestError(
      0,
      'offline',
      'The server of this page does not answer.',
      'Start it again with “refresh page”, and open the link that it prints.',
    );
  }
  const document = await response.json().catch(() => ({}));
  if (response.ok) return document;
  const { error = `HTTP ${response.status}`, message = `The answer was HTTP ${response.status}.` } = document;
  throw new RequestError(response.status, error, message, document.action, document.fields);
}
