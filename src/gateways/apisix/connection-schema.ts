import { z } from 'zod';
import { celMatches, text, withRules } from '../../api/schema.ts';
import { secretKey, secretName } from '../../api/secret-ref.ts';
import { serviceRefName, serviceRefNamespace, serviceRefPort } from '../../api/service-ref.ts';

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

/** The section `apisix` of a GatewayConnection. */
export const apisixConnection = z
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

export type ApisixConnection = z.output<typeof apisixConnection>;
