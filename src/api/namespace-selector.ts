import { z } from 'zod';
import { labelSelector } from './label-selector.ts';
import { nameRegExp } from './name-reg-exp.ts';
import { dnsLabel, text, withRules } from './schema.ts';

const namespaceName = text(63, {
  pattern: dnsLabel,
  message:
    'must be the name of a namespace: lowercase letters, digits and "-"; put regular expressions into match, for example ^my-[a-z]+$',
});

/** A regular expression for whole namespace names. */
const namespacePattern = nameRegExp({
  characters: '[a-zA-Z0-9_.-]',
  what: 'namespace names',
  example: '^my-[a-z]+$',
});

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
