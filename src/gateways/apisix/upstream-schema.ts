import { z } from 'zod';
import { jsonExcess } from '../../api/json-size.ts';

/** Fields of an APISIX upstream that `overrides` must not contain, and what to use instead. */
const REPLACEMENTS: Readonly<Record<string, string | undefined>> = {
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
  create_time: undefined,
  update_time: undefined,
};

const MAX_OVERRIDES = 32;
const MAX_OVERRIDES_DEPTH = 16;
const MAX_OVERRIDES_VALUES = 1000;
const MAX_OVERRIDES_LENGTH = 32_768;
const MAX_NAME_LENGTH = 64;

/**
 * The first problem of `overrides`; undefined if there is none. The API server cannot check this: CEL does not see fields
 * that the schema does not declare, and structural schemas are not recursive
 * (docs/decisions/0030-free-form-json-is-bounded-on-read.md).
 */
function overridesProblem(overrides: Readonly<Record<string, unknown>>): string | undefined {
  // Sizes first: all other code that reads the values is recursive, or takes time for each value.
  const excess = jsonExcess(overrides, {
    levels: MAX_OVERRIDES_DEPTH,
    values: MAX_OVERRIDES_VALUES,
    length: MAX_OVERRIDES_LENGTH,
  });
  if (excess === 'levels') {
    return `must not be nested more than ${MAX_OVERRIDES_DEPTH} levels deep: remove the deeper levels`;
  }
  if (excess === 'values') return `must have at most ${MAX_OVERRIDES_VALUES} values: remove some`;
  if (excess === 'length') {
    return `must have at most ${MAX_OVERRIDES_LENGTH} characters as JSON: make the values smaller`;
  }
  const names = Object.keys(overrides);
  if (names.length > MAX_OVERRIDES) return `must have at most ${MAX_OVERRIDES} fields, not ${names.length}`;
  const long = names.find(({ length }) => length > MAX_NAME_LENGTH);
  if (long !== undefined) {
    return `must not contain ${long.slice(0, MAX_NAME_LENGTH)}…: a field name must have at most ${MAX_NAME_LENGTH} characters`;
  }
  const field = names.find((name) => Object.hasOwn(REPLACEMENTS, name));
  if (field === undefined) return undefined;
  const replacement = REPLACEMENTS[field];
  return replacement === undefined
    ? `must not contain ${field}, which the gateway sets: remove it`
    : `must not contain ${field}: use ${replacement} instead`;
}

/** The section `apisix` of a GatewayUpstream. */
export const apisixUpstream = z
  .object({
    overrides: z
      // Names are checked below, because zod would quote a name of any length.
      .record(z.string(), z.unknown())
      .superRefine((value, context) => {
        const message = overridesProblem(value);
        if (message !== undefined) context.addIssue({ code: 'custom', message });
      })
      .meta({ 'x-kubernetes-preserve-unknown-fields': true, maxProperties: MAX_OVERRIDES })
      .optional()
      .describe(
        `Fields of the APISIX upstream for which GatewayUpstream has no field, under their APISIX names. The GatewayConnection must allow them (\`tenantPolicy.overrides\`). At most ${MAX_OVERRIDES} fields, ${MAX_OVERRIDES_DEPTH} levels, ${MAX_OVERRIDES_VALUES} values and ${MAX_OVERRIDES_LENGTH} characters as JSON.`,
      ),
  })
  .optional()
  .describe('Settings that apply only to Apache APISIX.');
