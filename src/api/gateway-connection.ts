import { z } from 'zod';
import { conditions, pendingStatus, withRules } from './schema.ts';

const secretName = z
  .string()
  .min(1)
  .max(253)
  .regex(/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/);
const secretKey = z
  .string()
  .min(1)
  .max(253)
  .regex(/^[-._a-zA-Z0-9]+$/);

const namespaceName = z
  .string()
  .min(1)
  .max(63)
  .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/);

/** A regular expression over whole namespace names, in the syntax that Go's RE2 and JavaScript share. */
const namespacePattern = withRules(z.string().min(1).max(256), [
  {
    // CEL has no other way to ask whether an expression compiles: a broken one is an error, and so a refusal.
    rule: "'x'.matches(self) || !'x'.matches(self)",
    message: 'not a regular expression',
  },
]);

const tls = withRules(
  z.object({
    caSecretRef: z
      .object({ name: secretName, key: secretKey.default('ca.crt') })
      .optional()
      .describe('Certificate authority of the gateway, PEM. Default: the public ones.'),
    clientCertificateSecretRef: z
      .object({ name: secretName })
      .optional()
      .describe('Secret of type kubernetes.io/tls with the client certificate that the gateway asks for.'),
    serverName: z
      .string()
      .min(1)
      .max(253)
      .optional()
      .describe("Name that the gateway's certificate must carry. Default: the host of adminUrl."),
    insecureSkipVerify: z
      .boolean()
      .default(false)
      .describe('Take any certificate. Whoever is in between then reads the admin key.'),
  }),
  [
    {
      rule: '!self.insecureSkipVerify || !has(self.caSecretRef)',
      message: 'insecureSkipVerify together with caSecretRef makes no sense: remove one',
      holds: (value) => !value.insecureSkipVerify || value.caSecretRef === undefined,
    },
  ],
);

const apisix = z
  .object({
    adminUrl: withRules(z.string().min(1).max(2048), [
      {
        rule: "self.matches('^https?://[^/@?#\\\\s]+(/[^?#\\\\s@]*)?$')",
        message:
          'adminUrl must look like http://apisix-admin.apisix:9180 or https://..., without credentials, query or fragment',
        holds: (value) => /^https?:\/\/[^/@?#\s]+(\/[^?#\s@]*)?$/.test(value),
      },
    ]).describe('Address of the Admin API, for example `http://apisix-admin.apisix:9180`.'),
    adminKeySecretRef: z
      .object({ name: secretName, key: secretKey.default('admin-key') })
      .describe(
        "Secret with the admin key, in the operator's namespace. Watched: rotation needs no restart.",
      ),
    tls: tls.optional(),
  })
  .describe('Apache APISIX with its Admin API v3 on etcd.');

const labelSelector = z
  .object({
    matchLabels: z.record(z.string(), z.string().max(63)).optional(),
    matchExpressions: z
      .array(
        withRules(
          z.object({
            key: z.string().min(1).max(317),
            operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
            values: z.array(z.string().max(63)).max(64).optional(),
          }),
          [
            {
              rule: "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
              message: 'In and NotIn need values; Exists and DoesNotExist take none',
              holds: (value) =>
                (value.operator === 'In' || value.operator === 'NotIn') === (value.values?.length ?? 0) > 0,
            },
          ],
        ),
      )
      .max(16)
      .optional(),
  })
  .describe('Labels of the namespace.');

export type LabelSelector = z.output<typeof labelSelector>;

const allowedNamespaces = withRules(
  z.object({
    all: z.boolean().optional().describe('Every namespace.'),
    names: z.array(namespaceName).max(256).optional().describe('Namespaces by name.'),
    match: z
      .array(namespacePattern)
      .max(32)
      .optional()
      .describe('Regular expressions that match the whole name, as in `[default, ^my-[a-z]+$]`.'),
    notMatch: z
      .array(namespacePattern)
      .max(32)
      .optional()
      .describe('Regular expressions of names that are left out, whatever else allows them.'),
    selector: labelSelector.optional(),
  }),
  [
    {
      rule: '!has(self.all) || !self.all || (!has(self.names) && !has(self.match) && !has(self.selector))',
      message: 'all: true already allows every namespace: remove names, match and selector, or all',
      holds: (value) =>
        value.all !== true ||
        (value.names === undefined && value.match === undefined && value.selector === undefined),
    },
  ],
).describe('Namespaces whose GatewayUpstreams may use this gateway. Absent: none.');

export type AllowedNamespaces = z.output<typeof allowedNamespaces>;

const policy = z.enum(['Deny', 'Allow']);

const tenantPolicy = z
  .object({
    upstreamIds: z
      .enum(['Prefixed', 'Any'])
      .default('Prefixed')
      .describe('Prefixed: an upstreamId must begin with `<idPrefix><namespace>.`.'),
    adoption: policy.default('Deny').describe('Taking over upstreams that nobody owns.'),
    staticAddresses: policy.default('Deny').describe('Backends with `addresses`.'),
    overrides: policy.default('Deny').describe('Raw fields of the gateway.'),
  })
  .describe('What the owner of a namespace may do with this gateway.');

export const gatewayConnectionSpec = withRules(
  z.object({
    type: z.enum(['APISIX']).describe('Kind of gateway.'),
    apisix: apisix.optional(),
    idPrefix: withRules(z.string().max(32), [
      {
        rule: "self.matches('^[a-zA-Z0-9._-]*$')",
        message: 'idPrefix is up to 32 of letters, digits, ".", "_" and "-"',
        holds: (value) => /^[a-zA-Z0-9._-]*$/.test(value),
      },
      {
        rule: 'self == oldSelf',
        message: 'idPrefix is immutable: routes refer to the ids that begin with it',
      },
    ])
      .default('')
      .describe('What every default upstream id begins with. Immutable.'),
    limits: z
      .object({
        concurrency: z.int().min(1).max(64).default(8).describe('Requests under way at once.'),
        requestsPerSecond: z.int().min(1).max(10_000).optional().describe('Default: no limit.'),
      })
      .default({ concurrency: 8 })
      .describe('What the operator may ask of this gateway.'),
    allowedNamespaces: allowedNamespaces.optional(),
    tenantPolicy: tenantPolicy.default({
      upstreamIds: 'Prefixed',
      adoption: 'Deny',
      staticAddresses: 'Deny',
      overrides: 'Deny',
    }),
  }),
  [
    {
      rule: "self.type != 'APISIX' || has(self.apisix)",
      message: 'type APISIX needs the section apisix with adminUrl and adminKeySecretRef',
      holds: (value) => value.type !== 'APISIX' || value.apisix !== undefined,
    },
  ],
);

export type GatewayConnectionSpec = z.output<typeof gatewayConnectionSpec>;
export type TenantPolicy = GatewayConnectionSpec['tenantPolicy'];

export const gatewayConnectionStatus = z
  .object({
    observedGeneration: z.int().min(0).optional().describe('The generation that this status was made for.'),
    gatewayVersion: z.string().optional().describe('What the gateway says of itself, for example `3.18.0`.'),
    upstreams: z.int().min(0).optional().describe('How many GatewayUpstreams refer to this connection.'),
    conditions: conditions.optional(),
  })
  .meta({ default: pendingStatus });

export type GatewayConnectionStatus = z.output<typeof gatewayConnectionStatus>;
