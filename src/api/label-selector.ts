import { z } from 'zod';
import { celMatches, text, textMap, withRules } from './schema.ts';

const labelKey = /^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\/)?[a-zA-Z0-9]([-a-zA-Z0-9_.]{0,61}[a-zA-Z0-9])?$/;
const labelValue = /^([a-zA-Z0-9]([-a-zA-Z0-9_.]*[a-zA-Z0-9])?)?$/;

/** Maximum sizes. The API server estimates the cost of CEL rules from them, for each place that uses the selector. */
interface SelectorLimits {
  readonly labels: number;
  readonly expressions: number;
  /** Per expression. */
  readonly values: number;
}

/** Up to `max` labels of an object. Messages name `field`. */
export function labelsOf(field: string, max: number) {
  return withRules(textMap('labels', max, 63), [
    {
      rule: `self.all(key, size(key) <= 317 && ${celMatches('key', labelKey)} && ${celMatches('self[key]', labelValue)})`,
      message: `${field} must be valid Kubernetes labels, for example team: payments or app.kubernetes.io/part-of: shop`,
      holds: (labels) =>
        Object.entries(labels).every(
          ([key, value]) => key.length <= 317 && labelKey.test(key) && labelValue.test(value),
        ),
    },
  ]);
}

/** A Kubernetes label selector. Descriptions call the selected object `what`. */
export function labelSelector(what: string, limits: SelectorLimits) {
  const matchLabels = labelsOf('matchLabels', limits.labels);
  const expression = withRules(
    z.object({
      key: text(317, {
        pattern: labelKey,
        message: 'key must be a label key, for example team or app.kubernetes.io/part-of',
      }).describe('Label key, for example `app.kubernetes.io/part-of`.'),
      operator: z
        .enum(['In', 'NotIn', 'Exists', 'DoesNotExist'])
        .describe(
          'How the label is compared. In and NotIn compare its value with `values`; Exists and DoesNotExist check only whether the label is set.',
        ),
      values: z
        .array(
          text(63, {
            pattern: labelValue,
            message:
              "must be a label value: up to 63 letters, digits, '-', '_' and '.', for example payments",
          }),
        )
        .max(limits.values)
        .optional()
        .describe('Values for In and NotIn, at least one. Must be empty for Exists and DoesNotExist.'),
    }),
    [
      {
        rule: "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
        message: 'In and NotIn need values; Exists and DoesNotExist must not have values',
        holds: (value) =>
          (value.operator === 'In' || value.operator === 'NotIn') === (value.values?.length ?? 0) > 0,
      },
    ],
  );
  return z
    .object({
      matchLabels: matchLabels
        .optional()
        .describe(`Labels, as key and value, that the ${what} must have. All must match.`),
      matchExpressions: z
        .array(expression)
        .max(limits.expressions)
        .optional()
        .describe(`Requirements on the labels of the ${what}. All must match.`),
    })
    .describe(`Label selector for the ${what}. \`matchLabels\` and \`matchExpressions\` must both match.`);
}

export type LabelSelector = z.output<ReturnType<typeof labelSelector>>;
