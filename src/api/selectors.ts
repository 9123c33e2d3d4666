import { z } from 'zod';
import { celMatches, dnsLabel, text, withRules } from './schema.ts';

const namespaceName = text(63, {
  pattern: dnsLabel,
  message:
    'must be the name of a namespace: lower case letters, digits and "-"; regular expressions go into match, for example ^my-[a-z]+$',
});

/**
 * What RE2 (the API server) and JavaScript (the operator) read alike, one token after the other: anchors, groups,
 * alternatives, and characters and classes with what repeats them.
 */
const sharedRegExp =
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
    rule: `${celMatches('self', sharedRegExp)} && ('x'.matches(self) || !'x'.matches(self))`,
    message:
      'must be a regular expression over names of namespaces, for example ^my-[a-z]+$: characters, ".", [classes], (groups), "|", "^", "$", "*", "+", "?" and {n,m}; no look-ahead, no flags',
    holds: (value) => sharedRegExp.test(value) && compiles(value),
  },
]);

const labelKey = /^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\/)?[a-zA-Z0-9]([-a-zA-Z0-9_.]{0,61}[a-zA-Z0-9])?$/;
const labelValue = /^([a-zA-Z0-9]([-a-zA-Z0-9_.]*[a-zA-Z0-9])?)?$/;
const MAX_LABELS = 64;

/** Labels of an object; `field` is for the message. */
export function labelsOf(field: string) {
  return withRules(
    z
      .record(z.string(), z.string().max(63))
      .refine((labels) => Object.keys(labels).length <= MAX_LABELS, `at most ${MAX_LABELS} labels`)
      .meta({ maxProperties: MAX_LABELS }),
    [
      {
        rule: `self.all(key, size(key) <= 317 && ${celMatches('key', labelKey)} && ${celMatches('self[key]', labelValue)})`,
        message: `${field} holds labels as Kubernetes takes them, for example team: payments, app.kubernetes.io/part-of: shop`,
        holds: (labels) =>
          Object.entries(labels).every(
            ([key, value]) => key.length <= 317 && labelKey.test(key) && labelValue.test(value),
          ),
      },
    ],
  );
}

const matchLabels = labelsOf('matchLabels');

/** A label selector as Kubernetes has it, for a `kind` of objects. */
function labelSelectorOf(kind: string) {
  return z
    .object({
      matchLabels: matchLabels.optional().describe(`Labels that the ${kind} must have with these values.`),
      matchExpressions: z
        .array(
          withRules(
            z.object({
              key: text(317, {
                pattern: labelKey,
                message: "key is a label's key, for example team or app.kubernetes.io/part-of",
              }).describe("A label's key."),
              operator: z
                .enum(['In', 'NotIn', 'Exists', 'DoesNotExist'])
                .describe('What must be true of the label.'),
              values: z
                .array(
                  text(63, {
                    pattern: labelValue,
                    message:
                      "must be a label's value: up to 63 letters, digits, '-', '_' and '.', for example payments",
                  }),
                )
                .max(64)
                .optional()
                .describe('Values for In and NotIn.'),
            }),
            [
              {
                rule: "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
                message: 'In and NotIn need values; Exists and DoesNotExist take none',
                holds: (value) =>
                  (value.operator === 'In' || value.operator === 'NotIn') === (value.values?.length ?? 0) > 0,
              },
            ],
          ),
        )
        .max(16)
        .optional()
        .describe(`Conditions that the labels of the ${kind} must all meet.`),
    })
    .describe(`Labels of the ${kind}.`);
}

export type LabelSelector = z.output<ReturnType<typeof labelSelectorOf>>;

export const serviceSelector = labelSelectorOf('Service');

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
    selector: labelSelectorOf('namespace').optional(),
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
