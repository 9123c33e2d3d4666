import { z } from 'zod';

/** One validation that the API server runs as CEL and the operator runs again on what it reads. */
interface Rule<T> {
  /** CEL, with `self` bound to the value. */
  readonly rule: string;
  readonly message: string;
  /** CEL that makes a better message than `message` can. */
  readonly messageExpression?: string;
  readonly fieldPath?: string;
  /** The same rule here. Absent for transition rules (`oldSelf`), which only the API server can check. */
  readonly holds?: (value: T) => boolean;
}

/** `schema` with `rules`, enforced by the API server and by the operator. */
export function withRules<S extends z.ZodType>(schema: S, rules: readonly Rule<z.output<S>>[]): S {
  let refined = schema;
  for (const { holds, message } of rules) {
    if (holds !== undefined) refined = refined.refine(holds, { error: message });
  }
  return refined.meta({
    'x-kubernetes-validations': rules.map(({ rule, message, messageExpression, fieldPath }) => ({
      rule,
      message,
      ...(messageExpression === undefined ? {} : { messageExpression }),
      ...(fieldPath === undefined ? {} : { fieldPath }),
    })),
  });
}

/** Go's spelling of a duration, as Kubernetes uses it: `500ms`, `1m30s`. */
export const durationString = z
  .string()
  .max(20)
  .regex(/^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$/);

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;

/** Milliseconds of a `durationString`. */
export function durationMs(text: string): number {
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)/g)) {
    total += Number(amount) * UNIT_MS[unit as keyof typeof UNIT_MS];
  }
  return total;
}

export const condition = z.object({
  type: z.string().min(1).max(316).describe('CamelCase type of the condition.'),
  status: z.enum(['True', 'False', 'Unknown']),
  observedGeneration: z.int().min(0).optional().describe('The generation that this condition was made for.'),
  lastTransitionTime: z.string().meta({ format: 'date-time' }).describe('When `status` changed last.'),
  reason: z
    .string()
    .min(1)
    .max(1024)
    .regex(/^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/),
  message: z.string().max(32768),
});

export type Condition = z.output<typeof condition>;

export const conditions = z
  .array(condition)
  .max(16)
  .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] });

/**
 * What `status` is before the operator has looked at an object for the first time: kstatus and Argo CD call an object
 * without conditions healthy.
 */
export const pendingStatus = {
  conditions: [
    {
      type: 'Ready',
      status: 'Unknown',
      reason: 'Pending',
      message: 'Waiting for the operator.',
      lastTransitionTime: '1970-01-01T00:00:00Z',
    },
  ],
} as const;
