import { z } from 'zod';
import { DELETION_TIMEOUT, durationBetween } from './schema.ts';

/** The default of `removalGuard`. */
export const REMOVAL_GUARD_DEFAULTS = { maxRemovalPercent: 50, holdFor: '5m', whenExpired: 'Clear' } as const;

/** The fields of a GatewayUpstream that describe how the operator manages its upstream. */
export const policyFields = {
  removalGuard: z
    .object({
      maxRemovalPercent: z
        .int()
        .min(0)
        .max(100)
        .default(50)
        .describe(
          'The guard acts when an upstream would lose all of its nodes, or more than this percentage of them, within a minute. 100: the guard is off.',
        ),
      holdFor: durationBetween('0s', '24h')
        .default('5m')
        .describe(
          'How long the guard keeps endpoints that are still listed but not ready. It keeps endpoints that disappeared without terminating for at most 30s.',
        ),
      whenExpired: z
        .enum(['Clear', 'Hold'])
        .default('Clear')
        .describe(
          'What happens to endpoints that are still not ready after `holdFor`. Clear: the operator removes them. Hold: they stay until the annotation `gatewayupstream.dev/accept-removal` is set.',
        ),
    })
    .default(REMOVAL_GUARD_DEFAULTS)
    .describe(
      'The removal guard. It keeps nodes in the gateway when many of their endpoints are lost at once without a known cause. Removals with a known cause are not affected, for example scaling down, rollouts, or a changed spec.',
    ),
  syncPolicy: z
    .enum(['Sync', 'UpsertOnly', 'Observe'])
    .default('Sync')
    .describe(
      'What the operator may write to the gateway. Sync: create, update and delete the upstream. UpsertOnly: create and update it, but never delete it. Observe: write nothing; `status.plan` shows what Sync would write. With every value, the operator removes all nodes when the GatewayConnection no longer allows the namespace.',
    ),
  manage: z
    .enum(['Object', 'Nodes'])
    .default('Object')
    .describe(
      'Which part of the upstream the operator manages. Object: the whole upstream. Nodes: only the nodes of an upstream that another client created and owns, for example Terraform; the operator never creates or deletes it and writes no other field. Nodes requires permission by the GatewayConnection (`tenantPolicy.adoption`). Immutable.',
    ),
  adoptionPolicy: z
    .enum(['Never', 'IfUnowned'])
    .default('Never')
    .describe(
      'What happens if the gateway already has an upstream with this id that another client created. Never: the operator does not touch it. IfUnowned: the operator takes it over, if it has no ownership labels of this operator and no field that this spec does not set, and if it would not lose all of its nodes. IfUnowned requires permission by the GatewayConnection (`tenantPolicy.adoption`).',
    ),
  deletionPolicy: z
    .enum(['Delete', 'Orphan', 'Force'])
    .default('Delete')
    .describe(
      'What happens to the upstream when this object is deleted. Delete: the operator deletes it, and waits as long as a route refers to it. Orphan: it stays in the gateway. Force: the operator deletes it even if a route refers to it.',
    ),
  deletionTimeout: durationBetween('0s', '168h')
    .default(DELETION_TIMEOUT)
    .describe(
      'How long Delete waits in a namespace that is being deleted, for example `10m`. After this time the upstream stays in the gateway, as with Orphan.',
    ),
};
