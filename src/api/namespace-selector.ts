import { z } from 'zod';
import { labelSelector } from './label-selector.ts';
import { celMatches, dnsLabel, text, withRules } from './schema.ts';

const namespaceName = text(63, {
  pattern: dnsLabel,
  message:
    'must be the name of a namespace: lowercase letters, digits and "-"; put regular expressions into match, for example ^my-[a-z]+$',
});

/**
 * The subset of RE2 that is allowed: anchors, groups, alternatives, and characters and classes with an optional
 * quantifier.
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

/** A regular expression for whole namespace names. */
const namespacePattern = withRules(z.string().max(256), [
  {
    // CEL has no function that checks whether an expression compiles. Evaluating an invalid one fails, and so rejects it.
    rule: `${celMatches('self', namespaceRegExp)} && ('x'.matches(self) || !'x'.matches(self))`,
    message:
      'must be a regular expression for namespace names, for example ^my-[a-z]+$: characters, ".", [classes], (groups), "|", "^", "$", "*", "+", "?" and {n,m}; no look-ahead, no flags',
    holds: (value) => namespaceRegExp.test(value) && compiles(value),
  },
]);

/** Selects namespaces: the union of names, match and selector, without notMatch. */
export const namespaceSelector = withRules(
  z.object({
    all: z
      .boolean()
      .optional()
      .describe('Selects every namespace. Must not be combined with `names`, `match` or `selector`.'),
    names: z.array(namespaceName).max(256).optional().describe('Names of namespaces.'),
    match: z
      .array(namespacePattern)
      .max(32)
      .optional()
      .describe(
        'Regular expressions that must match the whole name of a namespace, for example `[default, ^my-[a-z]+$]`.',
      ),
    notMatch: z
      .array(namespacePattern)
      .max(32)
      .optional()
      .describe(
        'Regular expressions for names of namespaces to exclude. They take precedence over `all`, `names`, `match` and `selector`.',
      ),
    selector: labelSelector('namespace', { labels: 64, expressions: 16, values: 64 }).optional(),
  }),
  [
    {
      rule: '!has(self.all) || !self.all || (!has(self.names) && !has(self.match) && !has(self.selector))',
      message: 'all: true selects every namespace: remove names, match and selector, or remove all',
      holds: (value) =>
        value.all !== true ||
        (value.names === undefined && value.match === undefined && value.selector === undefined),
    },
  ],
);

export type NamespaceSelector = z.output<typeof namespaceSelector>;
