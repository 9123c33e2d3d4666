import { z } from 'zod';
import type { gatewayUpstreamSchema } from './gateway-upstream.ts';
import { GROUP } from './group.ts';
import { labelSelector, labelsOf } from './label-selector.ts';
import { namespaceSelector } from './namespace-selector.ts';
import { conditions, count, observedGeneration, pendingStatus, textMap, withRules } from './schema.ts';
import { serviceRefPort } from './service-ref.ts';

const OWN_DOMAIN = `${GROUP}/`;

/** Labels or annotations that a template gives; ours say whose an object is. */
function foreign<S extends z.ZodType<Record<string, string>>>(schema: S, field: string): S {
  return withRules(schema, [
    {
      rule: `!self.exists(key, key.startsWith('${OWN_DOMAIN}'))`,
      message: `${field} under ${OWN_DOMAIN} are the operator's own: remove them`,
      holds: (entries) => !Object.keys(entries).some((key) => key.startsWith(OWN_DOMAIN)),
    },
  ]);
}

const metadata = z.object({
  labels: foreign(labelsOf('labels', 64), 'labels').optional().describe('Labels of each GatewayUpstream.'),
  annotations: foreign(textMap('annotations', 32, 4096), 'annotations')
    .optional()
    .describe('Annotations of each GatewayUpstream.'),
});

/** The spec of a GatewayUpstreamSet whose members have the spec of `upstream`. */
export function gatewayUpstreamSetSchema(upstream: ReturnType<typeof gatewayUpstreamSchema>) {
  const { backends: _backends, upstreamId: _upstreamId, ...fields } = upstream.shape;
  return withRules(
    z.object({
      namespaceSelector: namespaceSelector.describe(
        'Namespaces whose Services are followed, as in `allowedNamespaces` of a GatewayConnection. `{}`: none.',
      ),
      serviceSelector: labelSelector('Service', { labels: 64, expressions: 16, values: 64 })
        .optional()
        .describe('Labels of the Services that are followed. Absent: every Service of these namespaces.'),
      ports: z
        .array(serviceRefPort)
        .min(1)
        .max(16)
        .optional()
        .meta({ 'x-kubernetes-list-type': 'atomic' })
        .describe(
          'Ports that are followed, by number or by name. Absent: every port of a protocol that `scheme` uses.',
        ),
      template: z
        .object({
          metadata: metadata
            .optional()
            .describe('What each GatewayUpstream gets besides its name and namespace.'),
          spec: z
            .object(fields)
            .prefault({})
            .describe(
              'What each GatewayUpstream says: all that one can, but for `backends` and `upstreamId`.',
            ),
        })
        .prefault({})
        .describe('What the GatewayUpstreams are made from.'),
      maxPrunePercent: z
        .int()
        .min(0)
        .max(100)
        .default(20)
        .describe(
          'Where more than this share of the GatewayUpstreams would be deleted within a minute, though their Services are there, it waits for the annotation `gatewayupstream.dev/accept-prune`. One may always go, unless this is 0. 100: never waits.',
        ),
    }),
    [
      {
        rule: 'self.template.spec.connectionRef == oldSelf.template.spec.connectionRef',
        message:
          'template.spec.connectionRef is immutable, as it is in each GatewayUpstream: create another set, then delete this one',
        fieldPath: '.template.spec.connectionRef',
      },
    ],
  );
}

export type GatewayUpstreamSetSpec = z.output<ReturnType<typeof gatewayUpstreamSetSchema>>;

/** Why a Service, or one of its ports, has no GatewayUpstream, or one of another name. */
export const SET_PROBLEMS = {
  ExternalName: 'The Service is of type ExternalName and has no endpoints.',
  NoPorts: 'The Service has no port.',
  UnsupportedProtocol: 'The port is for another protocol than `template.spec.scheme` uses. SCTP never works.',
  NameCollision:
    'Another port of another Service comes to the same name and has it already: this one has a name with a hash.',
  NameTaken: 'There is a GatewayUpstream of that name that is not of this set. It is left alone.',
  MemberRefused: 'The API server refuses the GatewayUpstream. The condition Ready has its words.',
} as const;

export type SetProblemReason = keyof typeof SET_PROBLEMS;

/** As many as `status.problems` holds. */
export const MAX_SET_PROBLEMS = 10;

export const gatewayUpstreamSetStatus = z
  .object({
    observedGeneration,
    services: count
      .optional()
      .describe('Services that match. At most one write in 10 s while counts and lists keep changing.'),
    ports: count.optional().describe('Ports of these Services that should have a GatewayUpstream.'),
    upstreams: count.optional().describe('GatewayUpstreams of this set.'),
    pruning: z
      .object({ waiting: count.describe('GatewayUpstreams that would be deleted.') })
      .optional()
      .describe('Present only while pruning waits for the annotation `gatewayupstream.dev/accept-prune`.'),
    problems: z
      .array(
        z.object({
          service: z.string().max(320).describe('Namespace and name of the Service.'),
          port: z.string().max(63).optional().describe('Name or number of its port.'),
          reason: z.enum(Object.keys(SET_PROBLEMS) as SetProblemReason[]).describe('What is wrong.'),
        }),
      )
      .max(MAX_SET_PROBLEMS)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'atomic' })
      .describe(
        `The first ${MAX_SET_PROBLEMS} Services and ports that have no GatewayUpstream of their plain name.`,
      ),
    moreProblems: count.optional().describe('How many are not listed.'),
    conditions: conditions.optional(),
  })
  .meta({ default: pendingStatus });

export type GatewayUpstreamSetStatus = z.output<typeof gatewayUpstreamSetStatus>;
