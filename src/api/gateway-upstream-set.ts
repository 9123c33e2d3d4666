import { z } from 'zod';
import type { gatewayUpstreamSchema } from './gateway-upstream.ts';
import { GROUP } from './group.ts';
import { labelSelector, labelsOf } from './label-selector.ts';
import { namespaceSelector } from './namespace-selector.ts';
import { conditions, count, observedGeneration, pendingStatus, textMap, withRules } from './schema.ts';
import { serviceRefPort } from './service-ref.ts';

const OWN_DOMAIN = `${GROUP}/`;

/** Labels or annotations of a template. Keys of this group are reserved for ownership. */
function foreign<S extends z.ZodType<Record<string, string>>>(schema: S, field: string): S {
  return withRules(schema, [
    {
      rule: `!self.exists(key, key.startsWith('${OWN_DOMAIN}'))`,
      message: `${field} must not have keys that start with ${OWN_DOMAIN}, which are reserved for the operator: remove them`,
      holds: (entries) => !Object.keys(entries).some((key) => key.startsWith(OWN_DOMAIN)),
    },
  ]);
}

const metadata = z.object({
  labels: foreign(labelsOf('labels', 64), 'labels')
    .optional()
    .describe('Labels to set on each GatewayUpstream.'),
  annotations: foreign(textMap('annotations', 32, 4096), 'annotations')
    .optional()
    .describe('Annotations to set on each GatewayUpstream.'),
});

/** The spec of a GatewayUpstreamSet. `upstream` is the spec of its members. */
export function gatewayUpstreamSetSchema(upstream: ReturnType<typeof gatewayUpstreamSchema>) {
  const { backends: _backends, upstreamId: _upstreamId, ...fields } = upstream.shape;
  return withRules(
    z.object({
      namespaceSelector: namespaceSelector.describe(
        'Namespaces of the Services: the union of `names`, `match` and `selector`, without `notMatch`. `{}` selects no namespace. The GatewayConnection must allow these namespaces too.',
      ),
      serviceSelector: labelSelector('Service', { labels: 64, expressions: 16, values: 64 })
        .optional()
        .describe('Label selector for the Services. Default: every Service in these namespaces.'),
      ports: z
        .array(serviceRefPort)
        .min(1)
        .max(16)
        .optional()
        .meta({ 'x-kubernetes-list-type': 'atomic' })
        .describe(
          'Ports of the Services, by number or by name, for example `[http, 8080]`. Default: every port whose protocol matches `template.spec.scheme`: UDP ports with UDP, otherwise TCP ports.',
        ),
      template: z
        .object({
          metadata: metadata.optional().describe('Labels and annotations of each GatewayUpstream.'),
          spec: z
            .object(fields)
            .prefault({})
            .describe(
              'Spec of each GatewayUpstream. It has all fields of a GatewayUpstream except `backends` and `upstreamId`, which the operator sets.',
            ),
        })
        .prefault({})
        .describe('Template for the GatewayUpstreams.'),
      maxPrunePercent: z
        .int()
        .min(0)
        .max(100)
        .default(20)
        .describe(
          'Maximum percentage of the GatewayUpstreams of this set that may be deleted within a minute while their Services still exist. Above it, no deletion happens until the annotation `gatewayupstream.dev/accept-prune` is set. One deletion is always allowed, unless this is 0. 100: no limit.',
        ),
    }),
    [
      {
        rule: 'self.template.spec.connectionRef == oldSelf.template.spec.connectionRef',
        message: 'template.spec.connectionRef is immutable: create another set, then delete this one',
        fieldPath: '.template.spec.connectionRef',
      },
    ],
  );
}

export type GatewayUpstreamSetSpec = z.output<ReturnType<typeof gatewayUpstreamSetSchema>>;

/** Why a Service or a port has no GatewayUpstream, or one with an unusual name. */
export const SET_PROBLEMS = {
  ExternalName: 'The Service is of type ExternalName and has no endpoints.',
  NoPorts: 'The Service has no ports.',
  UnsupportedProtocol:
    'The protocol of the port does not match `template.spec.scheme`. SCTP is not supported.',
  NameCollision:
    'A port of another Service already uses the same GatewayUpstream name. The GatewayUpstream of this port has a hash at the end of its name.',
  NameTaken:
    'A GatewayUpstream with this name exists and does not belong to this set. The operator does not change it.',
  MemberRefused:
    'The API server rejected the GatewayUpstream. The message of the condition `Ready` contains the error.',
} as const;

export type SetProblemReason = keyof typeof SET_PROBLEMS;

/** Maximum length of `status.problems`. */
export const MAX_SET_PROBLEMS = 10;

export const gatewayUpstreamSetStatus = z
  .object({
    observedGeneration,
    services: count
      .optional()
      .describe(
        'Number of Services that the set selects. Counts and lists in this status are updated at most every 10 seconds.',
      ),
    ports: count.optional().describe('Number of ports of these Services that should have a GatewayUpstream.'),
    upstreams: count.optional().describe('Number of GatewayUpstreams that belong to this set.'),
    pruning: z
      .object({ waiting: count.describe('Number of GatewayUpstreams whose deletion is waiting.') })
      .optional()
      .describe(
        'Deletions that are waiting for the annotation `gatewayupstream.dev/accept-prune`. Present only while there are any.',
      ),
    problems: z
      .array(
        z.object({
          service: z.string().max(320).describe('Namespace and name of the Service, for example `shop/web`.'),
          port: z
            .string()
            .max(63)
            .optional()
            .describe('Name or number of the port. Absent if the problem concerns the whole Service.'),
          reason: z
            .enum(Object.keys(SET_PROBLEMS) as SetProblemReason[])
            .describe('Why the Service or port has no GatewayUpstream with its usual name.'),
        }),
      )
      .max(MAX_SET_PROBLEMS)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'atomic' })
      .describe(
        `Services and ports without a GatewayUpstream under the usual name \`<service>-<port>\`: the first ${MAX_SET_PROBLEMS}.`,
      ),
    moreProblems: count.optional().describe('Number of further entries that `problems` does not list.'),
    conditions: conditions.optional(),
  })
  .meta({ default: pendingStatus });

export type GatewayUpstreamSetStatus = z.output<typeof gatewayUpstreamSetStatus>;
