import type { SecretKeyRef, Vendor } from '../vendor.ts';
import type { ApisixOptions } from './client.ts';
import { type ApisixConnection, apisixConnection } from './connection-schema.ts';
import { apisixFormat, createApisixDriver } from './driver.ts';
import { labelMarks } from './ownership.ts';
import { apisixUpstream } from './upstream-schema.ts';

type ApisixSettings = Pick<ApisixOptions, 'adminUrl' | 'adminKey' | 'tls'>;

/** Apache APISIX with its Admin API v3 on etcd. */
export const apisix: Vendor<ApisixConnection, ApisixSettings> = {
  type: 'APISIX',
  section: 'apisix',
  connectionSchema: apisixConnection,
  requiredFields: 'adminUrl and adminKeySecretRef',
  upstreamSchema: apisixUpstream,

  secretRefs(section) {
    const { adminKey, ca, client } = refsOf(section);
    return [adminKey, ...(ca === undefined ? [] : [ca]), ...(client === undefined ? [] : client)];
  },

  settings(section, secretValue) {
    const { adminUrl, tls } = section;
    const { adminKey, ca, client } = refsOf(section);
    return {
      adminUrl,
      adminKey: secretValue(adminKey),
      tls: {
        ...(ca === undefined ? {} : { ca: secretValue(ca) }),
        ...(client === undefined
          ? {}
          : { clientCert: secretValue(client[0]), clientKey: secretValue(client[1]) }),
        ...(tls?.serverName === undefined ? {} : { serverName: tls.serverName }),
        insecureSkipVerify: tls?.insecureSkipVerify ?? false,
      },
    };
  },

  createDriver: createApisixDriver,

  dataPlanes({ controlApi }) {
    const { urls, serviceRef } = controlApi ?? {};
    if (serviceRef !== undefined) {
      return { kind: 'service', service: serviceRef, field: 'spec.apisix.controlApi.serviceRef' };
    }
    return urls === undefined ? undefined : { kind: 'urls', urls };
  },

  format: apisixFormat,
  ownership: labelMarks,
  limits: { oldestMajorVersion: 3 },
};

interface Refs {
  readonly adminKey: SecretKeyRef;
  readonly ca: SecretKeyRef | undefined;
  /** Certificate and key. */
  readonly client: readonly [SecretKeyRef, SecretKeyRef] | undefined;
}

function refsOf({ adminKeySecretRef, tls }: ApisixConnection): Refs {
  const name = tls?.clientCertificateSecretRef?.name;
  return {
    adminKey: adminKeySecretRef,
    ca: tls?.caSecretRef,
    client:
      name === undefined
        ? undefined
        : [
            { name, key: 'tls.crt' },
            { name, key: 'tls.key' },
          ],
  };
}
