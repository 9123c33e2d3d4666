import { z } from 'zod';
import { celMatches, text, textMap, withRules } from './schema.ts';

const labelKey = /^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\/)?[a-zA-Z0-9]([-a-zA-Z0-9_.]{0,61}[a-zA-Z0-9])?$/;
const labelValue = /^([a-zA-Z0-9]([-a-zA-Z0-9_.]*[a-zA-Z0-9])?)?$/;

/** The most that a selector may hold: CEL is paid for what might be written, wherever the selector stands. */
interface SelectorLimits {
  readonly labels: number;
  readonly expressions: number;
  /** Of one expression. */
  readonly values: number;
}

/** Up to `max` labels of an object; `field` is for the message. */
export function labelsOf(field: string, max: number) {
  return withRules(textMap('labels', max, 63), [
    {
      rule: `self.all(key, size(key) <= 317 && ${celMatches('key', labelKey)} && ${celMatches('self[key]', labelValue)})`,
      message: `${field} holds labels as Kubernetes takes them, for example team: payments, app.kubernetes.io/part-of: shop`,
      holds: (labels) =>
        Object.entries(labels).every(
          ([key, value]) => key.length <= 317 && labelKey.test(key) && labelValue.test(value),
        ),
    },
  ]);
}

/** A label selector of Kubernetes over the labels of a `what`. */
export function labelSelector(what: string, limits: SelectorLimits) {
  const matchLabels = labelsOf('matchLabels', limits.labels);
  const expression = withRules(
    z.object({
      key: text(317, {
        pattern: labelKey,
        message: "key is a label's key, for example team or app.kubernetes.io/part-of",
      }).describe("A label's key."),
      operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']).describe('What must be true of the label.'),
      values: z
        .array(
          text(63, {
            pattern: labelValue,
            message:
              "must be a label's value: up to 63 letters, digits, '-', '_' and '.', for example payments",
          }),
        )
        .max(limits.values)
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
  );
  return z
    .object({
      matchLabels: matchLabels.optional().describe(`Labels that the ${what} must have with these values.`),
      matchExpressions: z
        .array(expression)
        .max(limits.expressions)
        .optional()
        .describe(`Conditions that the labels of the ${what} must all meet.`),
    })
    .describe(`Labels of the ${what}.`);
}

export type LabelSelector = z.output<ReturnType<typeof labelSelector>>;
