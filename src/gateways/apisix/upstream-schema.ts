import { z } from 'zod';
import { jsonExcess } from '../../api/json-size.ts';

/** Fields of APISIX's object that `overrides` must not hold, and what to use instead. */
const SPELLED: Readonly<Record<string, string>> = {
  id: 'spec.upstreamId',
  nodes: 'spec.backends',
  service_name: 'spec.backends',
  discovery_type: 'spec.backends',
  type: 'spec.loadBalancing',
  hash_on: 'spec.loadBalancing',
  key: 'spec.loadBalancing',
  scheme: 'spec.scheme',
  pass_host: 'spec.hostHeader',
  upstream_host: 'spec.hostHeader',
  retries: 'spec.retries',
  retry_timeout: 'spec.retryTimeout',
  timeout: 'spec.timeouts',
  keepalive_pool: 'spec.keepalive',
  checks: 'spec.healthCheck',
  tls: 'spec.tls',
  labels: 'spec.labels',
  desc: 'spec.description',
  create_time: 'nothing: the gateway sets it',
  update_time: 'nothing: the gateway sets it',
};

const MAX_OVERRIDES = 32;
const MAX_OVERRIDES_DEPTH = 16;
const MAX_OVERRIDES_VALUES = 1000;
const MAX_OVERRIDES_LENGTH = 32_768;
const MAX_NAME_LENGTH = 64;

/**
 * What is wrong with raw fields; undefined: nothing. The API server cannot check this: CEL does not see fields that the
 * schema does not name, and a structural schema has no recursion (docs/decisions/0030-free-form-json-is-bounded-on-read.md).
 */
function overridesProblem(overrides: Readonly<Record<string, unknown>>): string | undefined {
  // First: everything else that looks into the values is recursive, or takes time for each of them.
  const excess = jsonExcess(overrides, {
    levels: MAX_OVERRIDES_DEPTH,
    values: MAX_OVERRIDES_VALUES,
    length: MAX_OVERRIDES_LENGTH,
  });
  if (excess === 'levels') {
    return `must not be nested more than ${MAX_OVERRIDES_DEPTH} levels deep: remove the levels below`;
  }
  if (excess === 'values') return `must have at most ${MAX_OVERRIDES_VALUES} values: remove some`;
  if (excess === 'length') {
    return `must have at most ${MAX_OVERRIDES_LENGTH} characters as JSON: make the values smaller`;
  }
  const names = Object.keys(overrides);
  if (names.length > MAX_OVERRIDES) return `must have at most ${MAX_OVERRIDES} fields, not ${names.length}`;
  const long = names.find(({ length }) => length > MAX_NAME_LENGTH);
  if (long !== undefined) {
    return `must not hold ${long.slice(0, MAX_NAME_LENGTH)}…: a name has at most ${MAX_NAME_LENGTH} characters`;
  }
  const field = names.find((name) => Object.hasOwn(SPELLED, name));
  return field === undefined
    ? undefined
    : `must not hold ${field}, which has a field of its own: use ${SPELLED[field]}`;
}

/** The section `apisix` of a GatewayUpstream. */
export const apisixUpstream = z
  .object({
    overrides: z
      // Names are checked below, since zod would quote one of any length.
      .record(z.string(), z.unknown())
      .superRefine((value, context) => {
        const message = overridesProblem(value);
        if (message !== undefined) context.addIssue({ code: 'custom', message });
      })
      .meta({ 'x-kubernetes-preserve-unknown-fields': true, maxProperties: MAX_OVERRIDES })
      .optional()
      .describe(
        `Fields of APISIX's upstream, in APISIX's own spelling, that this object has no field for. The connection must allow them. At most ${MAX_OVERRIDES} fields, ${MAX_OVERRIDES_DEPTH} levels, ${MAX_OVERRIDES_VALUES} values and ${MAX_OVERRIDES_LENGTH} characters as JSON.`,
      ),
  })
  .optional()
  .describe('What only Apache APISIX knows.');
