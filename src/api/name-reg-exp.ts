import { z } from 'zod';
import { celMatches, withRules } from './schema.ts';

interface NameRegExp {
  /** Character class of the characters that stand for themselves, in the syntax of both RE2 and JavaScript. */
  readonly characters: string;
  /** Text that is replaced by a name before the expression is used. It may stand where a character may. */
  readonly placeholder?: string;
  /** The names that the expression matches, for messages. */
  readonly what: string;
  readonly example: string;
}

/**
 * A regular expression for whole names, of at most 256 characters. Allowed is a subset of RE2: anchors, groups, alternatives,
 * and characters and classes with an optional quantifier.
 */
export function nameRegExp({ characters, placeholder, what, example }: NameRegExp) {
  const placeholders = placeholder === undefined ? '' : `|${placeholder.replaceAll(/[${}]/g, '\\$&')}`;
  const allowed = new RegExp(
    String.raw`^(\^|\$|\||\((\?:)?|(\)|${characters}|\\[dw.]${placeholders}|\[\^?([a-zA-Z0-9_.]|[a-zA-Z0-9]-[a-zA-Z0-9]|\\[dw.-])+-?\])(([*+?]|\{[0-9]{1,2}(,[0-9]{0,2})?\})\??)?)+$`,
  );
  const self = placeholder === undefined ? 'self' : `self.replace('${placeholder}', '(x)')`;
  return withRules(z.string().max(256), [
    {
      // CEL has no function that checks whether an expression compiles. Evaluating an invalid one fails, and so rejects it.
      rule: `${celMatches('self', allowed)} && ('x'.matches(${self}) || !'x'.matches(${self}))`,
      message: `must be a regular expression for ${what}, for example ${example}: characters, ".", [classes], (groups), "|", "^", "$", "*", "+", "?" and {n,m}; no look-ahead, no flags`,
      holds: (value) =>
        allowed.test(value) &&
        compiles(placeholder === undefined ? value : value.replaceAll(placeholder, '(x)')),
    },
  ]);
}

function compiles(pattern: string): boolean {
  try {
    new RegExp(pattern, 'u');
    return true;
  } catch {
    return false;
  }
}
