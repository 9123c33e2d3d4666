import { expect, it } from 'vitest';
import { startStandIn } from '../support/apisix-stand-in/stand-in.ts';
import { createCertificateAuthority } from '../support/control-plane/certificates.ts';
import { eventually } from '../support/eventually.ts';
import { installCrds, installRbac, startOperator } from '../support/operator.ts';
import { runProgram } from '../support/program.ts';
import { sharedControlPlane } from '../support/shared-control-plane.ts';
import { connectionPath, createWorkload, writeSecret } from '../support/workload.ts';

const cluster = await sharedControlPlane();

it('prints, serves and writes no key, certificate or token, whatever fails', async () => {
  await installCrds(cluster);
  const operatorNamespace = await cluster.newNamespace('secretive');
  const token = await installRbac(cluster, operatorNamespace);
  const authority = createCertificateAuthority();
  const server = authority.issue({ commonName: 'apisix', hosts: ['127.0.0.1'], usage: 'server' });
  const client = authority.issue({ commonName: 'operator', hosts: [], usage: 'client' });
  const other = createCertificateAuthority().issue({ commonName: 'other', hosts: [], usage: 'client' });
  const adminKey = 'distinctive-admin-key-5f0c1e9a';
  const wrongKey = 'distinctive-wrong-key-77b2d4c8';
  await using gateway = await startStandIn({
    adminKey,
    tls: { key: server.keyPem, cert: server.certPem, clientCa: authority.certPem },
  });
  const writeTls = ({ certPem, keyPem }: { readonly certPem: string; readonly keyPem: string }) =>
    writeSecret(cluster, operatorNamespace, 'client', { 'tls.crt': certPem, 'tls.key': keyPem });
  const writeKey = (key: string) =>
    writeSecret(cluster, operatorNamespace, 'gateway', { 'admin-key': `${key}\n` });
  await writeKey(adminKey);
  await writeTls(client);
  await writeSecret(cluster, operatorNamespace, 'ca', { 'ca.crt': authority.certPem });
  const work = createWorkload(cluster, await cluster.newNamespace('secretive-apps'));
  const apisix = {
    adminUrl: gateway.adminUrl,
    adminKeySecretRef: { name: 'gateway', key: 'admin-key' },
    tls: {
      caSecretRef: { name: 'ca', key: 'ca.crt' },
      clientCertificateSecretRef: { name: 'client' },
    },
  };
  await work.connection('secretive', { adminUrl: gateway.adminUrl, secret: 'gateway', extra: { apisix } });
  await using operator = await startOperator(cluster, operatorNamespace, token, {
    clusterId: operatorNamespace,
    resyncInterval: '1s',
    requestTimeout: '2s',
  });
  await operator.ready();
  await work.service('web');
  await work.endpoints('web', ['10.1.0.1']);
  await work.upstream('web', {
    connectionRef: { name: 'secretive' },
    backends: [{ serviceRef: { name: 'web', port: 80 } }],
  });
  const ready = (expected: object) =>
    eventually(
      async () => expect(await work.condition('web', 'Ready')).toEqual(expect.objectContaining(expected)),
      {
        timeoutMs: 45_000,
      },
    );
  await ready({ status: 'True' });

  // A gateway that echoes the key, a wrong key, a wrong certificate, an invalid key, and an unreachable gateway.
  {
    using _echo = gateway.addFault({
      fault: { kind: 'answer', status: 500, body: JSON.stringify({ error_msg: `no, ${adminKey}` }) },
    });
    await ready({ reason: 'GatewayUnavailable' });
  }
  await ready({ status: 'True' });
  await writeKey(wrongKey);
  await ready({ reason: 'Unauthorized' });
  await writeKey(adminKey);
  await ready({ status: 'True' });
  await writeTls(other);
  await ready({ reason: 'GatewayUnavailable' });
  await writeTls({ certPem: client.certPem, keyPem: other.keyPem });
  await eventually(async () => {
    const { body } = await cluster.request('GET', connectionPath('secretive'));
    expect(JSON.stringify(body)).toContain('does not match its certificate');
  });
  await writeTls(client);
  await ready({ status: 'True' });
  await gateway.stop();
  await ready({ reason: 'GatewayUnavailable' });

  const kubeconfig = await cluster.kubeconfigFor({ name: 'secretive', token, namespace: operatorNamespace });
  const args = ['--namespace', operatorNamespace, '--kubeconfig', kubeconfig];
  const check = await runProgram(['check', ...args]);
  const ops = /"opsPort":(\d+)/.exec(operator.output())?.[1];
  const shown = new Map<string, string>([
    ['the log', operator.output()],
    ['check', check.stdout + check.stderr],
  ]);
  for (const path of ['/metrics', '/readyz', '/livez', '/debug/state']) {
    shown.set(path, await (await fetch(`http://127.0.0.1:${ops}${path}`)).text());
  }
  for (const path of [
    '/apis/events.k8s.io/v1/events?limit=5000',
    '/apis/gatewayupstream.dev/v1alpha1/gatewayupstreams',
    '/apis/gatewayupstream.dev/v1alpha1/gatewayconnections',
    '/apis/coordination.k8s.io/v1/leases',
  ]) {
    shown.set(path, JSON.stringify((await cluster.request('GET', path)).body));
  }
  expect(shown.get('the log')).toContain('"level":"warn"');
  expect(shown.get('check')).toContain('secretive');

  /** The second line of a PEM is the first one that is unique. */
  const lineOf = (pem: string) => pem.split('\n')[2] ?? '';
  const secrets = {
    adminKey,
    wrongKey,
    token,
    clientKey: lineOf(client.keyPem),
    otherKey: lineOf(other.keyPem),
    ca: lineOf(authority.certPem),
    certificate: lineOf(client.certPem),
  };
  for (const [name, secret] of Object.entries(secrets)) {
    expect(secret.length, name).toBeGreaterThan(20);
    for (const [where, text] of shown) {
      for (const form of [
        secret,
        Buffer.from(secret).toString('base64').replace(/=+$/, ''),
        encodeURIComponent(secret),
      ])
        expect(text.includes(form), `${name} in ${where}`).toBe(false);
    }
  }
}, 300_000);
