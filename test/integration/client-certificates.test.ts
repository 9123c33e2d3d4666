import { expect, it } from 'vitest';
import { startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { createCertificateAuthority, type IssuedCertificate } from '../support/control-plane/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { installCrds, installRbac, startOperator } from '../support/operator.ts';
import { runProgram } from '../support/program.ts';
import { sharedControlPlane } from '../support/shared-control-plane.ts';
import { connectionPath, createWorkload, type Workload, writeSecret } from '../support/workload.ts';

const cluster = await sharedControlPlane();

/** Creates or changes a Secret of type kubernetes.io/tls. */
async function writePair(
  namespace: string,
  name: string,
  { certPem, keyPem }: IssuedCertificate,
): Promise<void> {
  await writeSecret(cluster, namespace, name, { 'tls.crt': certPem, 'tls.key': keyPem }, 'kubernetes.io/tls');
}

const verdict = async (work: Workload, name: string, type: string) => {
  const found = await work.condition(name, type);
  return `${found?.status}/${found?.reason}: ${found?.message}`;
};

it('follows client certificates in secretNamespaces, for old and new gateway versions', async () => {
  await installCrds(cluster);
  const operatorNamespace = await cluster.newNamespace('mtls');
  const shop = createWorkload(cluster, await cluster.newNamespace('mtls-shop'));
  const blog = createWorkload(cluster, await cluster.newNamespace('mtls-blog'));
  const token = await installRbac(cluster, operatorNamespace, [], { secretNamespaces: [shop.namespace] });
  await using gateway = await startStandIn();
  await using older = await startStandIn({ version: '3.2.0' });
  await writeSecret(cluster, operatorNamespace, 'gateway', { 'admin-key': gateway.adminKey });
  await shop.connection('mtls', { adminUrl: gateway.adminUrl, secret: 'gateway' });
  await shop.connection('mtls-older', { adminUrl: older.adminUrl, secret: 'gateway' });
  await using operator = await startOperator(cluster, operatorNamespace, token, {
    clusterId: operatorNamespace,
    secretNamespaces: [shop.namespace],
    resyncInterval: '1s',
  });
  await operator.ready();

  const spec = {
    connectionRef: { name: 'mtls' },
    backends: [{ serviceRef: { name: 'web', port: 80 } }],
    scheme: 'HTTPS',
    tls: { clientCertificateSecretRef: { name: 'client' } },
  };
  for (const work of [shop, blog]) {
    await work.service('web');
    await work.endpoints('web', ['10.1.0.1']);
    await work.upstream('web', spec);
  }
  const id = `${shop.namespace}.web`;
  const puts = () => gateway.requests.filter(({ method }) => method === 'PUT').length;
  const certificate = () => (gateway.get('upstreams', id)?.['tls'] as { client_cert?: string })?.client_cert;
  const nodes = () => gateway.get('upstreams', id)?.['nodes'];
  const says = (work: Workload, type: string, text: string) =>
    eventually(async () => expect(await verdict(work, 'web', type)).toContain(text));

  // The operator reads no Secret outside secretNamespaces, and writes no upstream while the Secret is missing.
  await says(blog, 'ResolvedRefs', `secretNamespaces in the operator's configuration does not include`);
  await says(blog, 'ResolvedRefs', 'False/RefNotPermitted');
  await says(
    shop,
    'ResolvedRefs',
    `Secret ${shop.namespace}/client of type kubernetes.io/tls does not exist`,
  );
  await says(shop, 'Ready', 'False/SecretNotFound');
  expect(puts()).toBe(0);

  const authority = createCertificateAuthority();
  const [first, renewed] = [1, 2].map(() =>
    authority.issue({ commonName: 'gateway', hosts: [], usage: 'client' }),
  ) as [IssuedCertificate, IssuedCertificate];
  // A certificate with its chain, as written by cert-manager.
  const chain = { ...first, certPem: first.certPem + authority.certPem };
  await writePair(shop.namespace, 'client', chain);
  await says(shop, 'Ready', 'True/Ready');
  expect(certificate()).toBe(chain.certPem);
  expect(puts()).toBe(1);

  await writePair(shop.namespace, 'client', renewed);
  await eventually(() => expect(certificate()).toBe(renewed.certPem));
  await says(shop, 'Ready', 'True/Ready');
  expect(puts()).toBe(2);

  // With a key that does not match, neither the certificate nor new endpoints are written.
  await writePair(shop.namespace, 'client', { ...renewed, keyPem: first.keyPem });
  await says(shop, 'Ready', 'contains a key that does not match its certificate');
  await shop.endpoints('web', ['10.1.0.1', '10.1.0.2']);
  await shop.remove(`/api/v1/namespaces/${shop.namespace}/secrets/client`);
  await says(shop, 'Ready', 'does not exist');
  await says(shop, 'Programmed', "Unknown/Pending: The gateway's current configuration is unchanged");
  expect(puts()).toBe(2);
  expect(nodes()).toHaveLength(1);
  await writePair(shop.namespace, 'client', renewed);
  await eventually(() => expect(nodes()).toHaveLength(2));
  await says(shop, 'Ready', 'True/Ready');
  expect(puts()).toBe(3);

  // A retained upstream keeps its certificate.
  await shop.upstream('stays', { ...spec, deletionPolicy: 'Orphan' });
  const stays = () => gateway.get('upstreams', `${shop.namespace}.stays`);
  await eventually(() => expect(stays()?.['tls']).toMatchObject({ client_cert: renewed.certPem }));
  await shop.remove(shop.upstreamPath('stays'));
  await eventually(async () => expect(await shop.get(shop.upstreamPath('stays'))).toBeUndefined());
  expect(stays()?.['labels']).toMatchObject({ 'gatewayupstream.dev/deletion-policy': 'Orphan' });
  expect(stays()?.['tls']).toMatchObject({ client_cert: renewed.certPem });

  // An old gateway gets no unsupported field and keeps its configuration. After its upgrade, the field is written.
  const old = { ...spec, connectionRef: { name: 'mtls-older' }, tls: undefined };
  await shop.upstream('old', old);
  const oldSays = (type: string, text: string) =>
    eventually(async () => expect(await verdict(shop, 'old', type)).toContain(text));
  await oldSays('Ready', 'True/Ready');
  await shop.patch(shop.upstreamPath('old'), { spec: { labels: { team: 'a'.repeat(65) } } });
  await oldSays(
    'Accepted',
    'False/UnsupportedField: spec.labels[team] cannot be used because APISIX 3.2.0 accepts',
  );
  await shop.patch(shop.upstreamPath('old'), { spec: { labels: null, tls: { verify: true } } });
  await oldSays('Accepted', 'spec.tls.verify cannot be used because APISIX 3.2.0');
  await oldSays('Ready', 'False/UnsupportedField');
  expect(older.requests.filter(({ method }) => method === 'PUT')).toHaveLength(1);
  const capability = async () => {
    const { body } = await cluster.request('GET', connectionPath('mtls-older'));
    const { status } = body as { status: { capabilities: { name: string; supported: boolean }[] } };
    return status.capabilities.find(({ name }) => name === 'NodeVerification')?.supported;
  };
  expect(await capability()).toBe(false);
  await older.stop();
  await oldSays('Programmed', 'Unknown/GatewayUnavailable');
  expect(await verdict(shop, 'old', 'Accepted')).toContain('False/UnsupportedField');
  await older.start();
  older.setVersion('3.19.0');
  await oldSays('Ready', 'True/Ready');
  expect(older.get('upstreams', `${shop.namespace}.old`)?.['tls']).toEqual({ verify: true });
  await eventually(async () => expect(await capability()).toBe(true));
  for (const { requests } of [gateway, older]) {
    expect(requests.map(({ status }) => status).filter((status) => status === 400)).toEqual([]);
  }

  // `plan` reads the same Secrets, has no changes, and prints no key.
  const kubeconfig = await cluster.kubeconfigFor({ name: 'mtls', token, namespace: operatorNamespace });
  const config = `${cluster.dir}/operator-${operatorNamespace}.yaml`;
  const planned = await runProgram([
    'plan',
    '--config',
    config,
    '--kubeconfig',
    kubeconfig,
    '--only',
    `${shop.namespace}/web`,
  ]);
  expect(planned.stdout).toContain('Plan: 0 to create, 0 to update, 0 to delete, 1 unchanged.');
  const { body } = await cluster.request('GET', shop.upstreamPath('web'));
  const shown = operator.output() + planned.stdout + planned.stderr + JSON.stringify(body);
  for (const { keyPem } of [first, renewed]) expect(shown).not.toContain(keyPem.split('\n')[2]);
});
