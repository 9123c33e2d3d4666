import { isObject } from '../runtime/json.ts';
import { parseJson } from './api-answer.ts';
import { endOfString } from './json-text.ts';
import { parseObject } from './large-object.ts';

/** Items of a list, parsed one by one during iteration. Iteration throws `KubeApiError` for invalid JSON. */
export class ListItems implements Iterable<unknown> {
  readonly #texts: readonly string[];
  readonly #maxValues: number;

  /** `maxValues`: as for `parseObject`. */
  constructor(texts: readonly string[], maxValues: number) {
    this.#texts = texts;
    this.#maxValues = maxValues;
  }

  *[Symbol.iterator](): Iterator<unknown> {
    for (const text of this.#texts) yield parseObject(text, this.#maxValues);
  }
}

/** Parses a list. Its `items` are `ListItems` if the text has the API server's usual form. Throws `KubeApiError`. */
export function parseList(text: string, maxValues = Number.POSITIVE_INFINITY): unknown {
  const split = splitItems(text);
  if (split === undefined) return parseJson(text);
  const list = parseJson(split.rest);
  return isObject(list) ? { ...list, items: new ListItems(split.items, maxValues) } : list;
}

/** The text of each item of a list, and the list without its items. */
export interface SplitList {
  readonly items: readonly string[];
  readonly rest: string;
}

const QUOTE = 34;
const COMMA = 44;
const OPENING_BRACKET = 91;
const CLOSING_BRACKET = 93;
const OPENING_BRACE = 123;
const CLOSING_BRACE = 125;
const ITEMS = '"items":[';

/**
 * Splits the JSON text of a Kubernetes list into its items without parsing it. Parsing a whole page at once promotes all of
 * it to the old generation of the heap. Parsing item by item lets the garbage collector free nearly everything early.
 * Returns undefined for text in another form, which may still be a valid list. Does not validate the text; parsing the
 * parts does.
 */
export function splitItems(text: string): SplitList | undefined {
  const items: string[] = [];
  /** Positions of the brackets around the items. */
  let [from, to] = [-1, -1];
  let item = -1;
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    const isBetween = from >= 0 && to < 0 && depth === 2;
    if (isBetween && !maySucceed(code, text.charCodeAt(at - 1), items.length === 0)) return undefined;
    if (code === QUOTE) {
      if (depth === 1 && to >= 0 && text.startsWith('"items"', at)) return undefined;
      if (depth === 1 && from < 0 && text.startsWith(ITEMS, at)) {
        at += ITEMS.length - 1;
        from = at;
        depth = 2;
      } else {
        at = endOfString(text, at);
        if (at < 0) return undefined;
      }
    } else if (code === OPENING_BRACE || code === OPENING_BRACKET) {
      if (isBetween) item = at;
      depth += 1;
    } else if (code === CLOSING_BRACE || code === CLOSING_BRACKET) {
      depth -= 1;
      if (from >= 0 && to < 0) {
        if (depth === 2) items.push(text.slice(item, at + 1));
        else if (depth === 1) to = at;
      }
    }
  }
  if (to < 0 || depth !== 0) return undefined;
  return { items, rest: text.slice(0, from + 1) + text.slice(to) };
}

/**
 * Whether `code` may follow `before` outside items. The list contains only objects, separated by one comma, without spaces.
 */
function maySucceed(code: number, before: number, isFirst: boolean): boolean {
  switch (code) {
    case OPENING_BRACE:
      return before === (isFirst ? OPENING_BRACKET : COMMA);
    case COMMA:
      return before === CLOSING_BRACE;
    case CLOSING_BRACKET:
      return before === (isFirst ? OPENING_BRACKET : CLOSING_BRACE);
    default:
      return false;
  }
}
