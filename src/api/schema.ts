import { z } from 'zod';

/** A validation that the API server runs as CEL and the operator repeats when it reads an object. */
interface Rule<T> {
  /** CEL. `self` is the value. */
  readonly rule: string;
  readonly message: string;
  /** CEL that returns a more specific message. */
  readonly messageExpression?: string;
  readonly fieldPath?: string;
  /**
   * The same rule in TypeScript. Absent for transition rules (`oldSelf`), which only the API server can check, and for rules
   * added later: existing objects that violate them must stay valid, because an invalid spec stops all changes.
   */
  readonly holds?: (value: T) => boolean;
}

/** Adds `rules` to `schema`. The API server and the operator both enforce them. */
export function withRules<S extends z.ZodType>(schema: S, rules: readonly Rule<z.output<S>>[]): S {
  let refined = schema;
  const before = schema.meta()?.['x-kubernetes-validations'];
  for (const { holds, message } of rules) {
    if (holds !== undefined) refined = refined.refine(holds, { error: message });
  }
  return refined.meta({
    'x-kubernetes-validations': [
      ...(Array.isArray(before) ? before : []),
      ...rules.map(({ rule, message, messageExpression, fieldPath }) => ({
        rule,
        message,
        ...(messageExpression === undefined ? {} : { messageExpression }),
        ...(fieldPath === undefined ? {} : { fieldPath }),
      })),
    ],
  });
}

interface TextRule {
  /** Must have the same meaning in RE2 and JavaScript: no look-around, no `\s`, no `'`, anchored. */
  readonly pattern: RegExp;
  /** Shown for an invalid value: what a valid value looks like. */
  readonly message: string;
  /** CEL that returns a more specific message. */
  readonly messageExpression?: string;
}

/** CEL for "`value` matches `pattern`". A CEL rule can have a message; the schema keyword `pattern` only shows the expression. */
export function celMatches(value: string, pattern: RegExp): string {
  return `${value}.matches(r'${pattern.source.replaceAll('\\/', '/')}')`;
}

/** A string of at most `maxLength` characters that matches a pattern. */
export function text(maxLength: number, { pattern, ...messages }: TextRule) {
  return withRules(z.string().max(maxLength), [
    { ...messages, rule: celMatches('self', pattern), holds: (value) => pattern.test(value) },
  ]);
}

/** A map of at most `max` strings of at most `maxLength` characters. Messages call the entries `what`. */
export function textMap(what: string, max: number, maxLength: number) {
  return z
    .record(z.string(), z.string().max(maxLength))
    .refine((entries) => Object.keys(entries).length <= max, `must have at most ${max} ${what}`)
    .meta({ maxProperties: max });
}

/** A DNS label, such as the name of a namespace. */
export const dnsLabel = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
/** A DNS subdomain, such as the name of most Kubernetes objects. */
export const dnsSubdomain = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;

const durationPattern = /^([0-9]{1,9}(\.[0-9]{1,3})?m?s|[0-9]{1,6}(\.[0-9]{1,3})?[mh])+$/;
const MAX_DURATION_LENGTH = 20;
const DURATION_MESSAGE =
  'must be a duration: numbers with a unit (ms, s, m, h), for example 500ms, 30s or 1m30s';

/**
 * A duration in Go notation, as in Kubernetes: `500ms`, `1m30s`. The number of digits is limited, because CEL counts
 * nanoseconds in 64 bits.
 */
export const durationString = z
  .string(DURATION_MESSAGE)
  .max(MAX_DURATION_LENGTH, DURATION_MESSAGE)
  .regex(durationPattern, DURATION_MESSAGE);

const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;

/** Converts a `durationString` to milliseconds, with three decimal places. */
export function durationMs(text: string): number {
  let total = 0;
  for (const [, amount, unit] of text.matchAll(/([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)/g)) {
    total += Number(amount) * UNIT_MS[unit as keyof typeof UNIT_MS];
  }
  return Math.round(total * 1000) / 1000;
}

/** Converts milliseconds with up to three decimal places to a `durationString`. */
export function durationText(ms: number): string {
  return ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`;
}

/** A `durationString` from `least` to `most`, both included. */
export function durationBetween(least: string, most: string) {
  return withRules(z.string().max(MAX_DURATION_LENGTH), [
    {
      rule: `${celMatches('self', durationPattern)} && duration(self) >= duration('${least}') && duration(self) <= duration('${most}')`,
      message: `must be a duration from ${least} to ${most}: numbers with a unit (ms, s, m, h), for example 500ms, 30s or 1m30s`,
      holds: (value) =>
        durationPattern.test(value) &&
        durationMs(value) >= durationMs(least) &&
        durationMs(value) <= durationMs(most),
    },
  ]);
}

/** The default of `deletionTimeout`, also used if the spec is not valid. */
export const DELETION_TIMEOUT = '10m';

export const count = z.int().min(0);

/** `status.observedGeneration`. */
export const observedGeneration = count
  .optional()
  .describe('The `metadata.generation` that this status is based on.');

export const condition = z.object({
  type: z.string().min(1).max(316).describe('Type of the condition, in CamelCase.'),
  status: z.enum(['True', 'False', 'Unknown']).describe('Status of the condition.'),
  observedGeneration: count.optional().describe('The `metadata.generation` that this condition is based on.'),
  lastTransitionTime: z
    .string()
    .meta({ format: 'date-time' })
    .describe('Time at which `status` last changed.'),
  reason: z
    .string()
    .min(1)
    .max(1024)
    .regex(/^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$/)
    .describe('Reason for the status: one CamelCase word of a fixed list.'),
  message: z.string().max(32768).describe('What is wrong, where, and what to do.'),
});

export type Condition = z.output<typeof condition>;

export const conditions = z
  .array(condition)
  .max(16)
  .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] })
  .describe('Current state of the object, one entry per condition type.');

/** `lastTransitionTime` of the condition that the CRD sets on every new object. */
export const NEVER = '1970-01-01T00:00:00Z';

/**
 * The default of `status`. Without it, kstatus and Argo CD would report a new object as healthy. The message must explain
 * why no operator processes the object, because a standby replica, or an operator that does not watch the namespace, does
 * not write to it.
 */
function pending(message: string) {
  return {
    conditions: [{ type: 'Ready', status: 'Unknown', reason: 'Pending', message, lastTransitionTime: NEVER }],
  } as const;
}

const NOT_PROCESSED = 'The operator has not processed this object yet. If this persists,';

export const pendingStatus = pending(
  `${NOT_PROCESSED} check that the operator is running and that one of its replicas holds the Lease`,
);

export const pendingStatusInNamespace = pending(
  `${NOT_PROCESSED} ask the platform team to check that the operator is running, that one of its replicas holds the Lease, and that namespaces in its configuration is empty or lists this namespace`,
);
