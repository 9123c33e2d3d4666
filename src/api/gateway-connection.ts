import { z } from 'zod';
import { addressing } from './addressing.ts';
import { parseIpRange } from './ip-address.ts';
import { namespaceSelector } from './namespace-selector.ts';
import {
  celMatches,
  conditions,
  count,
  DELETION_TIMEOUT,
  dnsSubdomain,
  durationBetween,
  observedGeneration,
  pendingStatus,
  text,
  withRules,
} from './schema.ts';
import { serviceRefName, serviceRefNamespace, serviceRefPort } from './service-ref.ts';

const secretName = text(253, {
  pattern: dnsSubdomain,
  message:
    'name is the name of a Secret alone, without its namespace: lower case letters, digits, "-" and ".", for example apisix-admin',
});
const secretKey = text(253, {
  pattern: /^[-._a-zA-Z0-9]+$/,
  message:
    'key is the name of an entry of the Secret: letters, digits, "-", "_" and ".", for example admin-key',
});

const tls = withRules(
  z.object({
    caSecretRef: z
      .object({
        name: secretName.describe('Name of the Secret.'),
        key: secretKey.default('ca.crt').describe('Entry of the Secret.'),
      })
      .optional()
      .describe('Certificate authority of the gateway, PEM. Default: the public ones.'),
    clientCertificateSecretRef: z
      .object({ name: secretName.describe('Name of the Secret.') })
      .optional()
      .describe('Secret of type kubernetes.io/tls with the client certificate that the gateway asks for.'),
    serverName: text(253, {
      pattern: /^[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?$/,
      message: 'serverName must be a DNS name, without scheme and port, for example apisix-admin.example.com',
    })
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

const adminUrl =
  /^https?:\/\/([a-zA-Z0-9_]([a-zA-Z0-9_.-]*[a-zA-Z0-9_])?|\[[0-9a-fA-F:.]+\])(:(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[0-5]?[0-9]{1,4}))?(\/[a-zA-Z0-9._~%/-]*)?$/;
/** A host that ends like an IPv4 address must be one, or it is no URL. */
const numericUrlHost = /^https?:\/\/([^/:]*[.])?[0-9]+([:/].*)?$/;
const ipv4UrlHost =
  /^https?:\/\/(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])([.](25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])){3}([:/].*)?$/;

/** An address that the operator asks over HTTP; `field` and `example` are for the message. */
function httpUrl(maxLength: number, field: string, example: string) {
  return withRules(z.string().max(maxLength), [
    {
      rule: celMatches('self', adminUrl),
      message: `${field} must look like ${example} or https://..., without credentials, query or fragment`,
      holds: (value) => adminUrl.test(value),
    },
    {
      rule: `!${celMatches('self', numericUrlHost)} || ${celMatches('self', ipv4UrlHost)}`,
      message:
        'a host that ends in a number is an IPv4 address: four numbers from 0 to 255, for example http://192.0.2.10:9180',
      holds: (value) => !numericUrlHost.test(value) || ipv4UrlHost.test(value),
    },
  ]);
}

const controlApi = withRules(
  z.object({
    urls: z
      .array(httpUrl(512, 'a URL of controlApi', 'http://192.0.2.10:9090'))
      .min(1)
      .max(64)
      .refine((urls) => new Set(urls).size === urls.length, 'no URL twice')
      .optional()
      .meta({ 'x-kubernetes-list-type': 'set' })
      .describe(
        'One address per data plane, with or without a path before `/v1/upstreams`, for example `http://192.0.2.10:9090`.',
      ),
    serviceRef: z
      .object({
        name: serviceRefName,
        namespace: serviceRefNamespace.describe(
          'Namespace of the Service. Where the operator looks at some namespaces only, it must be one of them.',
        ),
        port: serviceRefPort,
      })
      .optional()
      .describe("A Service in front of the data planes' Control API: its endpoints are followed."),
  }),
  [
    {
      rule: 'has(self.urls) != has(self.serviceRef)',
      message: 'controlApi has exactly one of urls and serviceRef',
      holds: (value) => (value.urls === undefined) !== (value.serviceRef === undefined),
    },
  ],
).describe(
  "Where the data planes' Control API is, so that they can be asked what they serve. Without a key and read only; APISIX serves it on loopback unless its `apisix.control.ip` says otherwise. `https` is spoken as `tls` says, but for `serverName`.",
);

const apisix = z
  .object({
    adminUrl: httpUrl(2048, 'adminUrl', 'http://apisix-admin.apisix:9180').describe(
      'Address of the Admin API, for example `http://apisix-admin.apisix:9180`.',
    ),
    adminKeySecretRef: z
      .object({
        name: secretName.describe('Name of the Secret.'),
        key: secretKey.default('admin-key').describe('Entry of the Secret.'),
      })
      .describe(
        "Secret with the admin key, in the operator's namespace. Watched: rotation needs no restart.",
      ),
    tls: tls
      .optional()
      .describe('How https is spoken. Default: the certificate must be from a public authority.'),
    controlApi: controlApi.optional(),
  })
  .describe('Apache APISIX with its Admin API v3 on etcd.');

const allowedNamespaces = namespaceSelector.describe(
  'Namespaces whose GatewayUpstreams may use this gateway. Absent: none.',
);

/** Loose for IPv6, which `parseIpRange` reads exactly. */
const ipRange =
  /^((25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])([.](25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])){3}\/([0-9]|[12][0-9]|3[0-2])|[0-9a-fA-F]*:[0-9a-fA-F:.]*\/([0-9]|[1-9][0-9]|1[01][0-9]|12[0-8]))$/;
const ipRanges = z
  .array(
    withRules(z.string().max(49), [
      {
        rule: celMatches('self', ipRange),
        message: 'must be a range in CIDR notation, for example 127.0.0.0/8 or fe80::/10',
        holds: (value) => parseIpRange(value) !== undefined,
      },
    ]),
  )
  .max(64)
  .optional()
  .meta({ 'x-kubernetes-list-type': 'atomic' });

const addresses = z
  .object({
    allow: ipRanges.describe(
      'Ranges of addresses that are allowed although they are denied by default: loopback, link-local, unspecified, multicast and broadcast addresses.',
    ),
    deny: ipRanges.describe('Ranges of addresses that are denied, whatever else allows them.'),
  })
  .describe(
    'Which IP addresses may be nodes of this gateway, wherever they come from. An endpoint with another one is left out (`AddressNotAllowed`). IPv4 addresses within IPv6 ones count as what they are.',
  );

const policy = z.enum(['Deny', 'Allow']);

const tenantPolicy = z
  .object({
    upstreamIds: z
      .enum(['Prefixed', 'Any'])
      .default('Prefixed')
      .describe('Prefixed: an upstreamId must begin with `<idPrefix><namespace>.`.'),
    adoption: policy.default('Deny').describe('Taking over upstreams that nobody owns.'),
    staticAddresses: policy
      .default('Deny')
      .describe(
        "Places outside the cluster: `addresses`, Services of type ExternalName, and a `dnsSuffix` other than the connection's.",
      ),
    overrides: policy.default('Deny').describe('Raw fields of the gateway.'),
    probePorts: z
      .enum(['Own', 'Any'])
      .default('Own')
      .describe(
        "Which ports health probes may go to where the nodes are not Pods of the tenant: addressing modes Node and LoadBalancer, and Services of another namespace. Own: the node's own port, so that `healthCheck.active.port` is refused. Any: every port, for example that of the kubelet.",
      ),
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
    addressing: addressing
      .optional()
      .describe(
        'How this gateway reaches Services where a backend says nothing else. Default: mode Pod, which needs a gateway that reaches Pods.',
      ),
    addresses: addresses.optional(),
    tenantPolicy: tenantPolicy.default({
      upstreamIds: 'Prefixed',
      adoption: 'Deny',
      staticAddresses: 'Deny',
      overrides: 'Deny',
      probePorts: 'Own',
    }),
    deletionTimeout: durationBetween('0s', '168h')
      .default(DELETION_TIMEOUT)
      .describe(
        'How long a deletion waits for the gateway to confirm that it holds no upstream of this operator any more. After that the connection is deleted, and what the gateway still holds stays there.',
      ),
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

/** As many as `status.dataPlanes.unreachable` holds. */
export const MAX_UNREACHABLE = 10;

export const gatewayConnectionStatus = z
  .object({
    observedGeneration,
    gatewayVersion: z.string().optional().describe('What the gateway says of itself, for example `3.18.0`.'),
    capabilities: z
      .array(
        z.object({
          name: z.string().max(64).describe('What it is.'),
          supported: z.boolean().describe('Whether this gateway can.'),
          since: z.string().max(32).describe('The first version of a gateway that can.'),
        }),
      )
      .max(32)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['name'] })
      .describe('What only some versions of the gateway can do. Absent where it does not say its version.'),
    upstreams: count
      .optional()
      .describe('How many GatewayUpstreams refer to this connection, of those that the operator follows.'),
    leftBehind: z
      .array(z.string().max(64))
      .max(256)
      .optional()
      .meta({ 'x-kubernetes-list-type': 'atomic' })
      .describe(
        'Ids of upstreams that were to stay (deletionPolicy Orphan) while the gateway could not be told. They are left alone.',
      ),
    dataPlanes: z
      .object({
        total: count.describe('Data planes that `controlApi` leads to.'),
        reachable: count.describe('Data planes whose Control API answers.'),
        unreachable: z
          .array(
            z.object({
              dataPlane: z.string().max(512).describe('Address of its Control API.'),
              message: z.string().max(1024).describe('What is wrong, and what to do.'),
            }),
          )
          .max(MAX_UNREACHABLE)
          .optional()
          .meta({ 'x-kubernetes-list-type': 'atomic' })
          .describe(`Data planes that do not answer, the first ${MAX_UNREACHABLE} by address.`),
        message: z
          .string()
          .max(1024)
          .optional()
          .describe('Why `controlApi.serviceRef` leads to no data plane, and what to do.'),
      })
      .optional()
      .describe(
        'The data planes, where `controlApi` is set. Changes no condition. At most one write in 10 s while it keeps changing.',
      ),
    conditions: conditions.optional(),
  })
  .meta({ default: pendingStatus });

export type GatewayConnectionStatus = z.output<typeof gatewayConnectionStatus>;
