// Data that is loaded again and again: without flicker, paused in the background, kept while requests fail.

import { useEffect, useRef, useState } from './html.js';

const MAX_PAUSE = 30_000;

/** Return `next`, with every part that is equal in `last` replaced by that same object. */
export function share(last, next) {
  if (Object.is(last, next)) return last;
  if (typeof last !== 'object' || typeof next !== 'object' || !last || !next) return next;
  if (Array.isArray(last) !== Array.isArray(next)) return next;
  const keys = Object.keys(next);
  let isSame = Object.keys(last).length === keys.length;
  const shared = Array.isArray(next) ? [] : {};
  for (const key of keys) {
    shared[key] = share(last[key], next[key]);
    isSame &&= Object.is(shared[key], last[key]) && key in last;
  }
  return isSame ? last : shared;
}

/** The state of the connection, for the whole page: the errors by what was loaded, and when data last arrived. */
export const connection = {
  errors: new Map(),
  updatedAt: null,
  listeners: new Set(),
  retries: new Set(),
  get error() {
    return this.errors.values().next().value ?? null;
  },
  set(key, error) {
    if (error) this.errors.set(key, error);
    else this.errors.delete(key);
    for (const listener of this.listeners) listener();
  },
  retry() {
    for (const retry of this.retries) retry();
  },
};

export function useConnection() {
  const [, change] = useState(0);
  useEffect(() => {
    const listener = () => change((count) => count + 1);
    connection.listeners.add(listener);
    return () => connection.listeners.delete(listener);
  }, []);
  return connection;
}

/**
 * Load with `load` now, when `key` changes, and every `interval(data)` milliseconds while the page is visible.
 * Return `{data, error, refresh}`; an error keeps the data that was there, unless it is not found any more, and `keep` keeps it for another key, too.
 * `optional`: that the viewer may not read it is no problem of the page.
 */
export function useLive(key, load, interval, { keep = false, optional = false } = {}) {
  const [state, setState] = useState({ key, data: undefined, error: null });
  const latest = useRef();
  latest.current = { load, interval };
  const control = useRef({ refresh() {} });
  useEffect(() => {
    let timer, stopped = false, failures = 0, running = false, again = false;
    const run = async () => {
      if (running) return void (again = true);
      clearTimeout(timer);
      running = true;
      let pause = MAX_PAUSE, loaded;
      try {
        loaded = await latest.current.load();
        failures = 0;
        if (stopped) return;
        setState((old) => ({ key, error: null, data: share(old.key === key ? old.data : undefined, loaded) }));
        connection.updatedAt = Date.now();
        connection.set(key, null);
        pause = latest.current.interval(loaded);
      } catch (error) {
        if (!('kind' in error)) throw error;
        failures += 1;
        if (stopped) return;
        // What was dropped or deleted is not shown as if it were there.
        const isKept = (old) => error.status !== 404 && (keep || old.key === key);
        setState((old) => ({ key, error, data: isKept(old) ? old.data : undefined }));
        const isProblem = error.isTransient && !(optional && error.kind === 'permission');
        connection.set(key, isProblem || error.kind === 'WrongToken' ? error : null);
        pause = Math.min(MAX_PAUSE, 1000 * 2 ** failures);
      } finally {
        running = false;
      }
      if (again) {
        again = false;
        return void run();
      }
      if (!stopped && Number.isFinite(pause)) timer = setTimeout(tick, pause);
    };
    const tick = () => (document.hidden ? (timer = setTimeout(tick, 1000)) : run());
    const wake = () => !document.hidden && failures && run();
    control.current.refresh = run;
    connection.retries.add(run);
    document.addEventListener('visibilitychange', wake);
    run();
    return () => {
      stopped = true;
      clearTimeout(timer);
      connection.retries.delete(run);
      connection.set(key, null);
      document.removeEventListener('visibilitychange', wake);
    };
  }, [key]);
  const current = state.key === key ? state : { data: keep ? state.data : undefined, error: null };
  return { ...current, refresh: () => control.current.refresh() };
}

/** Return the width of the content of an element in pixels, which follows the size of the window. */
export function useWidth(element) {
  const [width, setWidth] = useState(900);
  useEffect(() => {
    const observer = new ResizeObserver(([one]) => setWidth(one.contentRect.width));
    observer.observe(element.current);
    return () => observer.disconnect();
  }, []);
  return width;
}

/** Return the time in milliseconds, which changes every `every` milliseconds while the page is visible. */
export function useNow(every = 1000) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => !document.hidden && setNow(Date.now()), every);
    return () => clearInterval(timer);
  }, [every]);
  return now;
}
