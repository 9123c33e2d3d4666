import { z } from 'zod';
import { conditions, count, observedGeneration, pendingStatusInNamespace } from './schema.ts';

/** Why an endpoint is not in the gateway, or in it all the same (`Held`). */
export const EXCLUDED_REASONS = {
  NotReady: 'It is not ready, and does not terminate.',
  Terminating: 'It terminates, and no longer serves, or another endpoint is ready.',
  WrongFamily:
    'It has no address of the IP family that is used: `spec.endpoints.family`, or the first of the `ipFamilies` of its Service.',
  PortMissing: 'Its slice has no port of that name and protocol, or the port has no number.',
  NodeUnusable:
    'With addressing mode Node: the node is not ready, is excluded from external load balancers, has no address of the type and family, or, where only nodes with an endpoint count, is left out by the `nodeSelector`.',
  AddressNotAllowed:
    'Its address is a loopback, link-local, unspecified, multicast or broadcast one, or is in `spec.addresses.deny` of the GatewayConnection, whose `spec.addresses.allow` does not name it. With addressing mode LoadBalancer also a name inside the cluster.',
  Held: 'Nobody wants it any more, and [the removal guard](concepts.md#what-is-held) keeps it in the gateway for a while.',
} as const;

export type ExcludedReason = keyof typeof EXCLUDED_REASONS;

/** As many as `status.excluded` holds. */
export const MAX_EXCLUDED = 10;

/** What is accepted but not as it was asked for. */
export const WARNING_REASONS = {
  WeightsApproximate:
    'Backends, zones or addresses get only approximately their shares: there are too many endpoints for whole numbers within a sum of 10,000 (1,000 with ConsistentHash).',
  WeightSumTooLarge:
    'There are more endpoints than that sum allows, and each has a weight of at least 1. Each change costs the gateway more memory and time.',
} as const;

export type WarningReason = keyof typeof WARNING_REASONS;

/** As many as `status.warnings` holds. */
export const MAX_WARNINGS = 8;

/** As many as `status.plan.changes` holds. */
export const MAX_PLANNED_CHANGES = 20;

/** Why a data plane is said to lag. */
export const LAGGING_REASONS = {
  Unreachable: 'It cannot be asked what it serves. `status.dataPlanes` of the GatewayConnection says why.',
  OlderContent:
    'It serves something else than what was written last, for more than 5 s. Look at its log and its connection to etcd.',
  Missing:
    'It has no such upstream, more than 5 s after it was written. Look at its log and its connection to etcd.',
} as const;

export type LaggingReason = keyof typeof LAGGING_REASONS;

/** As many as `status.dataPlanes.lagging` holds. */
export const MAX_LAGGING = 10;

export const gatewayUpstreamStatus = z
  .object({
    observedGeneration,
    upstreamId: z.string().optional().describe('Id of the upstream in the gateway.'),
    upstreamCreateTime: z
      .string()
      .meta({ format: 'date-time' })
      .optional()
      .describe("The gateway's own create_time of the upstream."),
    endpoints: z
      .object({
        summary: z.string().describe('`ready` of all that are counted here, for example `3/4`.'),
        ready: count.describe('Endpoints that get traffic because they are ready.'),
        draining: count.describe(
          'Endpoints in the gateway that terminate and still serve: they get the traffic where none is ready, else they have weight 0 (`drain: ZeroWeight`).',
        ),
        excluded: count.describe(
          'Endpoints that are left out: not ready, terminating, of another family, or without the port; with addressing mode Node also nodes that are of no use.',
        ),
        held: count
          .default(0)
          .describe('Nodes that are not wanted any more and that the removal guard keeps in the gateway.'),
      })
      .optional()
      .describe('The endpoints behind all backends. At most one write in 10 s while it keeps changing.'),
    excluded: z
      .array(
        z.object({
          address: z
            .string()
            .max(320)
            .describe(
              'Address of the endpoint, with its port where that is known, for example `10.0.0.1:8080`.',
            ),
          reason: z
            .enum(Object.keys(EXCLUDED_REASONS) as ExcludedReason[])
            .describe('Why it is left out. Held: it is kept though it is not wanted.'),
        }),
      )
      .max(MAX_EXCLUDED)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'atomic' })
      .describe(
        `The first ${MAX_EXCLUDED} of \`endpoints.excluded\` and \`endpoints.held\`, by address. At most one write in 10 s while it keeps changing.`,
      ),
    warnings: z
      .array(
        z.object({
          reason: z
            .enum(Object.keys(WARNING_REASONS) as WarningReason[])
            .describe('One word of a closed set.'),
          field: z.string().max(256).describe('What it is about, for example `spec.backends`.'),
          message: z.string().max(1024).describe('What is not as it was asked for, and what to do.'),
        }),
      )
      .max(MAX_WARNINGS)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'atomic' })
      .describe(
        `What is accepted but risky, or not as it was asked for; at most ${MAX_WARNINGS}. Changes no condition. Written at most every 10 s.`,
      ),
    plan: z
      .object({
        action: z.enum(['None', 'Create', 'Update']).describe('What would be done to the upstream.'),
        changes: z
          .array(z.string().max(512))
          .max(MAX_PLANNED_CHANGES)
          .optional()
          .meta({ 'x-kubernetes-list-type': 'atomic' })
          .describe(
            `The first ${MAX_PLANNED_CHANGES} changes: \`+\` a node that would be added, \`-\` removed, \`~\` a node or field that would change.`,
          ),
        more: count.optional().describe('How many changes are not listed.'),
      })
      .optional()
      .describe(
        'With syncPolicy Observe: what Sync would write. At most one write in 10 s while it keeps changing.',
      ),
    dataPlanes: z
      .object({
        total: count.describe('Data planes that are asked.'),
        current: count.describe('Data planes that serve what was written last.'),
        lagging: z
          .array(
            z.object({
              dataPlane: z.string().max(512).describe('Address of its Control API.'),
              reason: z
                .enum(Object.keys(LAGGING_REASONS) as LaggingReason[])
                .describe('Why it is said to lag.'),
            }),
          )
          .max(MAX_LAGGING)
          .optional()
          .meta({ 'x-kubernetes-list-type': 'atomic' })
          .describe(`Data planes that do not, the first ${MAX_LAGGING} by address.`),
      })
      .optional()
      .describe(
        'What the data planes serve, where the connection has `controlApi`: each by the view of one of its workers. Changes no condition. At most one write in 10 s while it keeps changing.',
      ),
    conditions: conditions.optional(),
  })
  .meta({ default: pendingStatusInNamespace });

export type GatewayUpstreamStatus = z.output<typeof gatewayUpstreamStatus>;
