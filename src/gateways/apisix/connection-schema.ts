import { z } from 'zod';
import { celMatches, text, withRules } from '../../api/schema.ts';
import { secretKey, secretName } from '../../api/secret-ref.ts';
import { serviceRefName, serviceRefNamespace, serviceRefPort } from '../../api/service-ref.ts';

const tls = withRules(
  z.object({
    caSecretRef: z
      .object({
        name: secretName.describe('Name of the Secret.'),
        key: secretKey.default('ca.crt').describe('Key in the data of the Secret.'),
      })
      .optional()
      .describe(
        'Secret with the certificate authority (PEM) that signs the certificate of the gateway. It must be in the namespace of the operator. Default: the public certificate authorities.',
      ),
    clientCertificateSecretRef: z
      .object({ name: secretName.describe('Name of the Secret.') })
      .optional()
      .describe(
        'Secret of type `kubernetes.io/tls` with the client certificate that the operator presents to the gateway. It must be in the namespace of the operator.',
      ),
    serverName: text(253, {
      pattern: /^[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?$/,
      message: 'serverName must be a DNS name, without scheme and port, for example apisix-admin.example.com',
    })
      .optional()
      .describe(
        'Name that the certificate of the gateway must contain, for example `apisix-admin.example.com`. Default: the host of `adminUrl`.',
      ),
    insecureSkipVerify: z
      .boolean()
      .default(false)
      .describe(
        'Accept any certificate. Insecure: an attacker in the network path can then read the admin key.',
      ),
  }),
  [
    {
      rule: '!self.insecureSkipVerify || !has(self.caSecretRef)',
      message: 'insecureSkipVerify must not be combined with caSecretRef: remove one of them',
      holds: (value) => !value.insecureSkipVerify || value.caSecretRef === undefined,
    },
  ],
);

const adminUrl =
  /^https?:\/\/([a-zA-Z0-9_]([a-zA-Z0-9_.-]*[a-zA-Z0-9_])?|\[[0-9a-fA-F:.]+\])(:(6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[0-5]?[0-9]{1,4}))?(\/[a-zA-Z0-9._~%/-]*)?$/;
/** URL parsers reject a host that ends in a number and is not an IPv4 address. */
const numericUrlHost = /^https?:\/\/([^/:]*[.])?[0-9]+([:/].*)?$/;
const ipv4UrlHost =
  /^https?:\/\/(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])([.](25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])){3}([:/].*)?$/;

/** An HTTP URL. Messages name `field` and `example`. */
function httpUrl(maxLength: number, field: string, example: string) {
  return withRules(z.string().max(maxLength), [
    {
      rule: celMatches('self', adminUrl),
      message: `${field} must be a URL such as ${example} or https://..., without credentials, query or fragment`,
      holds: (value) => adminUrl.test(value),
    },
    {
      rule: `!${celMatches('self', numericUrlHost)} || ${celMatches('self', ipv4UrlHost)}`,
      message:
        'a host that ends in a number must be an IPv4 address: four numbers from 0 to 255, for example http://192.0.2.10:9180',
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
      .refine((urls) => new Set(urls).size === urls.length, 'must not list a URL twice')
      .optional()
      .meta({ 'x-kubernetes-list-type': 'set' })
      .describe(
        'URL of the Control API of each data plane, 1 to 64, for example `http://192.0.2.10:9090`. A path in the URL is put before `/v1/upstreams`. List each data plane, not a load balancer in front of them.',
      ),
    serviceRef: z
      .object({
        name: serviceRefName,
        namespace: serviceRefNamespace.describe(
          'Namespace of the Service. If the configuration of the operator lists `namespaces`, it must be one of them.',
        ),
        port: serviceRefPort,
      })
      .optional()
      .describe(
        'A Service whose endpoints are the Control APIs of the data planes. The operator queries each ready endpoint.',
      ),
  }),
  [
    {
      rule: 'has(self.urls) != has(self.serviceRef)',
      message: 'controlApi must set exactly one of urls and serviceRef',
      holds: (value) => (value.urls === undefined) !== (value.serviceRef === undefined),
    },
  ],
).describe(
  'Control API of the data planes. The operator reads from it which configuration each data plane serves, and reports it in `status.dataPlanes`. It sends no admin key. APISIX listens on 127.0.0.1 unless `apisix.control.ip` is set in its configuration. For https URLs, `tls` applies except for `serverName`. Default: the operator does not query the data planes.',
);

/** The section `apisix` of a GatewayConnection. */
export const apisixConnection = z
  .object({
    adminUrl: httpUrl(2048, 'adminUrl', 'http://apisix-admin.apisix:9180').describe(
      'URL of the Admin API, for example `http://apisix-admin.apisix:9180`.',
    ),
    adminKeySecretRef: z
      .object({
        name: secretName.describe('Name of the Secret.'),
        key: secretKey.default('admin-key').describe('Key in the data of the Secret.'),
      })
      .describe(
        'Secret with the admin key. It must be in the namespace of the operator. The operator uses a changed key without a restart.',
      ),
    tls: tls
      .optional()
      .describe(
        'TLS settings for https URLs. Default: the certificate of the gateway must be signed by a public certificate authority.',
      ),
    controlApi: controlApi.optional(),
  })
  .describe('An Apache APISIX gateway with Admin API v3 and etcd. Required with type APISIX.');

export type ApisixConnection = z.output<typeof apisixConnection>;
