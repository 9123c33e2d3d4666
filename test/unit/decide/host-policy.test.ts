import { describe, expect, it } from 'vitest';
import { HostPolicy } from '../../../src/decide/host-policy.ts';

const isNamespace = (name: string) => ['bank', 'com'].includes(name);
const reasonOf = (host: string, rules: ConstructorParameters<typeof HostPolicy>[0] = {}) =>
  new HostPolicy(rules).ofHost(host, isNamespace)?.reason;

describe('a host policy', () => {
  it.each([
    '127.0.0.1',
    '127.255.255.254',
    '169.254.169.254',
    '0.0.0.0',
    '0.1.2.3',
    '224.0.0.1',
    '239.255.255.250',
    '255.255.255.255',
    '::1',
    '::',
    '0:0:0:0:0:0:0:1',
    'fe80::1',
    'febf::1',
    'ff02::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::FFFF:169.254.169.254',
    '0:0:0:0:0:ffff:a9fe:a9fe',
    '::127.0.0.1',
    '64:ff9b::169.254.169.254',
    '64:ff9b:1::127.0.0.1',
    '64:ff9b:1:7f00:0:1::',
    '64:ff9b:1:ffff::a9fe:a9fe',
    '::ffff:0:127.0.0.1',
    '2002:7f00:1::',
    '2002:a9fe:a9fe::1',
    'fd00:ec2::254',
    'localhost',
    'LOCALHOST',
    'localhost.',
    'web.localhost',
    'localhost.localdomain',
    'localhost6.localdomain6',
    'metadata.google.internal',
    'Metadata.Google.Internal.',
    'instance-data.ec2.internal',
    // Text that resolvers read as addresses.
    '2130706433',
    '0x7f000001',
    '0x7f.1',
    '127.1',
    '127.0.0.0x1',
    '0177.0.0.1',
    '127.0.0.1.5',
    '127.0.0.01',
    'fe80::1%eth0',
  ])('denies %s', (host) => {
    expect(reasonOf(host)).toBe('AddressNotAllowed');
  });

  it.each([
    'db',
    'postgres-0.postgres.bank',
    'POSTGRES.Bank.',
    'web.bank.svc',
    'web.bank.svc.',
    'web.bank.svc.cluster.local',
    'web.bank.svc.corp.example',
    'node-1.cluster.local',
    '10-0-0-1.bank.pod',
    '_http._tcp.web.bank.svc',
    // If a namespace `com` exists, a resolver in the cluster may complete the name.
    'example.com',
  ])('treats %s as a cluster-internal name', (host) => {
    expect(reasonOf(host)).toBe('StaticAddressesDenied');
    expect(reasonOf(host, { allow: ['0.0.0.0/0', '::/0'] })).toBe('StaticAddressesDenied');
  });

  it.each([
    '10.0.0.1',
    '192.168.1.1',
    '203.0.113.1',
    '240.0.0.1',
    '1.2.3.4',
    '2001:db8::1',
    'fd00::1',
    '::ffff:10.0.0.1',
    '2002:a00:1::1',
    'fd00:ec2::253',
    'example.org',
    'db.example.org',
    'bank.example.org',
    'localhost.example.org',
    'my-localhost.org',
    '7.example.org',
    'v1.0x.org',
  ])('allows %s', (host) => {
    expect(reasonOf(host)).toBeUndefined();
  });

  it.each<[string, string, boolean]>([
    ['127.0.0.0/8', '127.0.0.1', true],
    ['127.0.0.0/8', '::ffff:127.0.0.1', true],
    ['127.0.0.0/8', 'localhost', true],
    ['127.0.0.0/8', '::1', false],
    ['127.0.0.0/8', '169.254.169.254', false],
    ['127.0.0.2/32', '127.0.0.1', false],
    ['::1/128', '::1', true],
    ['169.254.0.0/16', 'metadata.google.internal', true],
    ['0.0.0.0/0', '224.0.0.1', true],
    // Ambiguous addresses are denied even if the range is allowed.
    ['127.0.0.0/8', '127.1', false],
  ])('with allow [%s]: %s, %s', (range, host, expected) => {
    expect(reasonOf(host, { allow: [range] })).toBe(expected ? undefined : 'AddressNotAllowed');
  });

  it.each<[string, string, boolean]>([
    ['10.0.0.0/8', '10.9.9.9', false],
    ['10.0.0.0/8', '::ffff:10.9.9.9', false],
    ['10.0.0.0/8', '11.0.0.1', true],
    ['10.0.0.0/8', '2002:a00:1::1', false],
    ['10.0.0.0/8', '64:ff9b:1::10.0.0.1', false],
    ['fd00:ec2::254/128', 'fd00:ec2::254', false],
  ])('with deny [%s]: %s, %s', (range, host, expected) => {
    const rules = { deny: [range], allow: ['0.0.0.0/0', '::/0'] };
    expect(reasonOf(host, rules)).toBe(expected ? undefined : 'AddressNotAllowed');
  });

  it.each(['010.1.2.3', '10.1.2.03', '127.1', '1', '', 'fe80::1%eth0', '::ffff:010.1.2.3'])(
    'denies an endpoint or node with the ambiguous address "%s"',
    (host) => {
      const policy = new HostPolicy({ deny: ['10.0.0.0/8'], allow: ['0.0.0.0/0', '::/0'] });
      expect(policy.ofAddress(host)?.reason).toBe('AddressNotAllowed');
      expect(policy.ofNode(host)?.reason).toBe('AddressNotAllowed');
    },
  );

  it('denies an endpoint with a name as its address', () => {
    expect(new HostPolicy({}).ofAddress('db.example.org')?.reason).toBe('AddressNotAllowed');
  });

  it('checks the addresses of cluster nodes, and denies only local names', () => {
    const policy = new HostPolicy({});
    expect(policy.ofNode('127.0.0.2')?.reason).toBe('AddressNotAllowed');
    expect(policy.ofNode('localhost')?.reason).toBe('AddressNotAllowed');
    for (const host of ['node-1', 'node-1.bank', 'ip-10-0-0-1.ec2.internal', '10.0.0.1']) {
      expect(policy.ofNode(host)).toBeUndefined();
    }
  });
});
