import { z } from 'zod';
import { labelSelector } from './label-selector.ts';
import { celMatches, dnsLabel, text, withRules } from './schema.ts';

const namespaceName = text(63, {
  pattern: dnsLabel,
  message:
    'must be the name of a namespace: lower case letters, digits and "-"; regular expressions go into match, for example ^my-[a-z]+$',
});

/**
 * The part of RE2 that names of namespaces need, one token after the other: anchors, groups, alternatives, and characters
 * and classes with what repeats them.
 */
const namespaceRegExp =
  /^(\^|\$|\||\((\?:)?|(\)|[a-zA-Z0-9_.-]|\\[dw.]|\[\^?([a-zA-Z0-9_.]|[a-zA-Z0-9]-[a-zA-Z0-9]|\\[dw.-])+-?\])(([*+?]|\{[0-9]{1,2}(,[0-9]{0,2})?\})\??)?)+$/;

function compiles(pattern: string): boolean {
  try {
    new RegExp(pattern, 'u');
    return true;
  } catch {
    return false;
  }
}

/** A regular expression over whole namespace names. */
const namespacePattern = withRules(z.string().max(256), [
  {
    // CEL has no other way to ask whether an expression compiles: a broken one is an error, and so a refusal.
    rule: `${celMatches('self', namespaceRegExp)} && ('x'.matches(self) || !'x'.matches(self))`,
    message:
      'must be a regular expression over names of namespaces, for example ^my-[a-z]+$: characters, ".", [classes], (groups), "|", "^", "$", "*", "+", "?" and {n,m}; no look-ahead, no flags',
    holds: (value) => namespaceRegExp.test(value) && compiles(value),
  },
]);

/** Which namespaces: the union of names, match and selector, less notMatch. */
export const namespaceSelector = withRules(
  z.object({
    all: z.boolean().optional().describe('Every namespace.'),
    names: z.array(namespaceName).max(256).optional().describe('Namespaces by name.'),
    match: z
      .array(namespacePattern)
      .max(32)
      .optional()
      .describe('Regular expressions that match the whole name, as in `[default, ^my-[a-z]+$]`.'),
    notMatch: z
      .array(namespacePattern)
      .max(32)
      .optional()
      .describe('Regular expressions of names that are left out, whatever else allows them.'),
    selector: labelSelector('namespace', { labels: 64, expressions: 16, values: 64 }).optional(),
  }),
  [
    {
      rule: '!has(self.all) || !self.all || (!has(self.names) && !has(self.match) && !has(self.selector))',
      message: 'all: true already allows every namespace: remove names, match and selector, or all',
      holds: (value) =>
        value.all !== true ||
        (value.names === undefined && value.match === undefined && value.selector === undefined),
    },
  ],
);

export type NamespaceSelector = z.output<typeof namespaceSelector>;
