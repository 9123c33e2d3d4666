import { z } from 'zod';
import { conditions, count, observedGeneration, pendingStatusInNamespace } from './schema.ts';

/** Why an endpoint is not in the upstream, or is kept in it by the removal guard (`Held`). */
export const EXCLUDED_REASONS = {
  NotReady: 'The endpoint is not ready and not terminating.',
  Terminating: 'The endpoint is terminating, and it no longer serves or another endpoint is ready.',
  WrongFamily:
    'The endpoint has no address of the required IP family: `spec.endpoints.family`, or the first entry of `ipFamilies` of its Service.',
  PortMissing:
    'The EndpointSlice of the endpoint has no port with this name and protocol, or the port has no number. For an instance in a registry: the registry lists no port, or its metadata has no valid port under the key of `portFrom`.',
  NodeUnusable:
    'Addressing mode Node only. The cluster node is not ready, is excluded from external load balancers, or has no address of the required type and IP family. If only nodes with an endpoint are used, also: `nodeSelector` does not select the node.',
  AddressNotAllowed:
    'The address is a loopback, link-local, unspecified, multicast or broadcast address that `spec.addresses.allow` of the GatewayConnection does not contain, or `spec.addresses.deny` contains it. With addressing mode LoadBalancer, also: the address is a name inside the cluster. For an instance in a registry, also: `spec.addresses` of the ServiceRegistry denies it, or it is a name and `names` is not Allow.',
  WeightZero: 'The instance has weight 0 in the registry.',
  Held: 'The endpoint should be removed, but [the removal guard](concepts.md#removal-guard) still keeps it in the gateway.',
} as const;

export type ExcludedReason = keyof typeof EXCLUDED_REASONS;

/** Maximum length of `status.excluded`. */
export const MAX_EXCLUDED = 10;

/** What the operator accepts, but cannot do exactly as specified. */
export const WARNING_REASONS = {
  WeightsApproximate:
    'The traffic shares of backends, zones, addresses or instances are only approximate. There are too many endpoints, or their weights differ too much, to express the shares as integers with a sum of at most 10,000 (1,000 with ConsistentHash).',
  WeightSumTooLarge:
    'The sum of the weights exceeds 10,000 (1,000 with ConsistentHash), because there are more endpoints than that and each has a weight of at least 1. Every change costs the gateway more memory and time.',
} as const;

export type WarningReason = keyof typeof WARNING_REASONS;

/** Maximum length of `status.warnings`. */
export const MAX_WARNINGS = 8;

/** Maximum length of `status.plan.changes`. */
export const MAX_PLANNED_CHANGES = 20;

/** Why a data plane is reported as lagging. */
export const LAGGING_REASONS = {
  Unreachable:
    'The Control API of the data plane does not respond. `status.dataPlanes` of the GatewayConnection shows the error.',
  OlderContent:
    'The data plane has served a different configuration than the last one written for more than 5 seconds. Check its log and its connection to etcd.',
  Missing:
    'The data plane does not have the upstream more than 5 seconds after it was written. Check its log and its connection to etcd.',
} as const;

export type LaggingReason = keyof typeof LAGGING_REASONS;

/** Maximum length of `status.dataPlanes.lagging`. */
export const MAX_LAGGING = 10;

export const gatewayUpstreamStatus = z
  .object({
    observedGeneration,
    upstreamId: z.string().optional().describe('Id of the upstream in the gateway.'),
    upstreamCreateTime: z
      .string()
      .meta({ format: 'date-time' })
      .optional()
      .describe('Time at which the upstream was created, as the gateway reports it (`create_time`).'),
    endpoints: z
      .object({
        summary: z.string().describe('Ready endpoints of all endpoints counted here, for example `3/4`.'),
        ready: count.describe('Number of endpoints in the upstream that are ready.'),
        draining: count.describe(
          'Number of endpoints in the upstream that are terminating and still serving. They receive traffic if no endpoint is ready; otherwise they have weight 0 (`drain: ZeroWeight`).',
        ),
        excluded: count.describe(
          'Number of endpoints that are not in the upstream, for example because they are not ready. With addressing mode Node this includes cluster nodes that cannot be used.',
        ),
        held: count
          .default(0)
          .describe(
            'Number of nodes that should be removed and that the removal guard keeps in the gateway.',
          ),
      })
      .optional()
      .describe('Endpoints of all backends. Updated at most every 10 seconds.'),
    excluded: z
      .array(
        z.object({
          address: z
            .string()
            .max(320)
            .describe('Address of the endpoint, with its port if known, for example `10.0.0.1:8080`.'),
          reason: z
            .enum(Object.keys(EXCLUDED_REASONS) as ExcludedReason[])
            .describe(
              'Why the endpoint is excluded. Held: it should be removed, and the removal guard keeps it in the gateway.',
            ),
        }),
      )
      .max(MAX_EXCLUDED)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'atomic' })
      .describe(
        `Excluded endpoints and nodes kept by the removal guard: the first ${MAX_EXCLUDED}, ordered by address. Updated at most every 10 seconds.`,
      ),
    warnings: z
      .array(
        z.object({
          reason: z
            .enum(Object.keys(WARNING_REASONS) as WarningReason[])
            .describe('Reason for the warning: one CamelCase word of a fixed list.'),
          field: z
            .string()
            .max(256)
            .describe('Field that the warning is about, for example `spec.backends`.'),
          message: z.string().max(1024).describe('What differs from the spec or is risky, and what to do.'),
        }),
      )
      .max(MAX_WARNINGS)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'atomic' })
      .describe(
        `Settings that the operator accepts although they are risky or cannot be applied exactly, at most ${MAX_WARNINGS}. They do not affect conditions. Updated at most every 10 seconds.`,
      ),
    plan: z
      .object({
        action: z
          .enum(['None', 'Create', 'Update'])
          .describe('What Sync would do with the upstream in the gateway.'),
        changes: z
          .array(z.string().max(512))
          .max(MAX_PLANNED_CHANGES)
          .optional()
          .meta({ 'x-kubernetes-list-type': 'atomic' })
          .describe(
            `The first ${MAX_PLANNED_CHANGES} changes. \`+\` is a node to add, \`-\` a node to remove, \`~\` a node or field to change.`,
          ),
        more: count.optional().describe('Number of further changes that `changes` does not list.'),
      })
      .optional()
      .describe(
        'What `syncPolicy: Sync` would write. Present only with `syncPolicy: Observe`. Updated at most every 10 seconds.',
      ),
    dataPlanes: z
      .object({
        total: count.describe('Number of data planes.'),
        current: count.describe('Number of data planes that serve the last configuration that was written.'),
        lagging: z
          .array(
            z.object({
              dataPlane: z.string().max(512).describe('URL of the Control API of the data plane.'),
              reason: z
                .enum(Object.keys(LAGGING_REASONS) as LaggingReason[])
                .describe('Why the data plane is reported as lagging.'),
            }),
          )
          .max(MAX_LAGGING)
          .optional()
          .meta({ 'x-kubernetes-list-type': 'atomic' })
          .describe(`Data planes that do not serve it: the first ${MAX_LAGGING}, ordered by URL.`),
      })
      .optional()
      .describe(
        'What the data planes serve. Present only if the GatewayConnection sets `controlApi`. The operator queries one worker of each data plane. It does not affect conditions. Updated at most every 10 seconds.',
      ),
    conditions: conditions.optional(),
  })
  .meta({ default: pendingStatusInNamespace });

export type GatewayUpstreamStatus = z.output<typeof gatewayUpstreamStatus>;
