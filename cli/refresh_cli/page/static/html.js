// The rendering library: preact with htm, from vendor/.
import { h, Component } from './vendor/preact.js';
import htm from './vendor/htm.js';

export { render, Component } from './vendor/preact.js';
export { useCallback, useEffect, useId, useLayoutEffect, useMemo, useRef, useState } from './vendor/hooks.js';
export const html = htm.bind(h);

/** Return a component that renders again only if one of its properties is another value. */
export function pure(View) {
  return class extends Component {
    shouldComponentUpdate(next) {
      const names = new Set([...Object.keys(next), ...Object.keys(this.props)]);
      return [...names].some((name) => !Object.is(next[name], this.props[name]));
    }
    render(props) {
      return View(props);
    }
  };
}
