// Solana's own clients at a chain: {web3: [URL, WebSocket URL]} or {kit: the same} on standard
// input; says what each found, step by step.
import { createInterface } from 'node:readline'
import * as web3 from '@solana/web3.js'
import * as kit from '@solana/kit'

const say = (fact) => process.stdout.write(JSON.stringify(fact, plain) + '\n')
const plain = (_, value) => (typeof value === 'bigint' ? Number(value) : value)
const SOL = 1_000_000_000

async function withWeb3 ([url, wsEndpoint]) {
  const connection = new web3.Connection(url, { commitment: 'confirmed', wsEndpoint })
  const payer = web3.Keypair.generate()
  const to = web3.Keypair.generate().publicKey
  const heard = new Promise((resolve) => connection.onAccountChange(to, (account, context) =>
    resolve({ lamports: account.lamports, slot: context.slot })))
  const logged = new Promise((resolve) => connection.onLogs(to, (logs) => resolve(logs)))
  await connection.confirmTransaction({
    signature: await connection.requestAirdrop(payer.publicKey, 4 * SOL),
    ...(await connection.getLatestBlockhash())
  })
  const give = web3.SystemProgram.transfer(
    { fromPubkey: payer.publicKey, toPubkey: to, lamports: SOL })
  const signature = await web3.sendAndConfirmTransaction(
    connection, new web3.Transaction().add(give), [payer])
  say({ paid: {
    balance: await connection.getBalance(to), heard: (await heard).lamports, logged: (await logged).signature, signature
  } })

  const table = await lookupTable(connection, payer, to)
  const { blockhash, lastValidBlockHeight } = await connection.getLatestBlockhash()
  const message = new web3.TransactionMessage(
    { payerKey: payer.publicKey, recentBlockhash: blockhash, instructions: [give] }
  ).compileToV0Message([table])
  const versioned = new web3.VersionedTransaction(message)
  versioned.sign([payer])
  const simulated = await connection.simulateTransaction(versioned)
  const sent = await connection.sendTransaction(versioned, { skipPreflight: true })
  const done = await connection.confirmTransaction(
    { signature: sent, blockhash, lastValidBlockHeight })
  const told = await connection.getTransaction(sent, { maxSupportedTransactionVersion: 0 })
  const parsed = await connection.getParsedTransaction(
    signature, { maxSupportedTransactionVersion: 0 })
  say({ versioned: {
    simulated: simulated.value.err,
    error: done.value.err,
    fee: told.meta.fee,
    version: told.version,
    loaded: told.meta.loadedAddresses.writable.map(String),
    to: String(to),
    parsed: parsed.transaction.message.accountKeys.map((key) => key.signer)
  } })

  let refused = null
  try {
    await web3.sendAndConfirmTransaction(connection, new web3.Transaction().add(
      web3.SystemProgram.transfer(
        { fromPubkey: payer.publicKey, toPubkey: to, lamports: 100 * SOL })), [payer])
  } catch (error) {
    refused = { name: error.constructor.name, logs: error.logs, words: String(error) }
  }
  const accounts = await connection.getMultipleAccountsInfo([to, payer.publicKey])
  const block = await connection.getBlock(told.slot, { maxSupportedTransactionVersion: 0 })
  say({ asked: {
    refused,
    lamports: accounts.map((account) => account?.lamports),
    programAccounts: (await connection.getProgramAccounts(
      web3.SystemProgram.programId, { filters: [{ dataSize: 0 }] })).length,
    parsedAccount: (await connection.getParsedAccountInfo(to)).value.lamports,
    signatures: (await connection.getSignaturesForAddress(to)).map((one) => one.signature),
    sent,
    inBlock: block.transactions.length,
    epoch: (await connection.getEpochInfo()).epoch,
    schedule: (await connection.getEpochSchedule()).slotsPerEpoch,
    version: (await connection.getVersion())['solana-core'],
    genesis: await connection.getGenesisHash(),
    supply: (await connection.getSupply()).value.total,
    fee: (await connection.getFeeForMessage(message)).value,
    fees: (await connection.getRecentPrioritizationFees()).length,
    rent: await connection.getMinimumBalanceForRentExemption(165),
    height: await connection.getBlockHeight(),
    time: await connection.getBlockTime(told.slot),
    first: await connection.getFirstAvailableBlock(),
    count: await connection.getTransactionCount(),
    status: (await connection.getSignatureStatus(sent)).value.confirmationStatus,
    valid: (await connection.isBlockhashValid(blockhash)).value,
    nodes: (await connection.getClusterNodes()).length
  } })
}

async function lookupTable (connection, payer, to) {
  const recentSlot = await connection.getSlot('finalized')
  const [create, address] = web3.AddressLookupTableProgram.createLookupTable(
    { authority: payer.publicKey, payer: payer.publicKey, recentSlot })
  const extend = web3.AddressLookupTableProgram.extendLookupTable({
    lookupTable: address, authority: payer.publicKey, payer: payer.publicKey, addresses: [to]
  })
  await web3.sendAndConfirmTransaction(
    connection, new web3.Transaction().add(create, extend), [payer])
  // a table's new addresses are good from the next slot on
  const from = await connection.getSlot()
  while (await connection.getSlot() <= from) await new Promise((resolve) => setTimeout(resolve, 20))
  return (await connection.getAddressLookupTable(address)).value
}

async function withKit ([url, wsUrl]) {
  const rpc = kit.createSolanaRpc(url)
  const rpcSubscriptions = kit.createSolanaRpcSubscriptions(wsUrl)
  const payer = await kit.generateKeyPairSigner()
  const to = (await kit.generateKeyPairSigner()).address
  const airdrop = kit.airdropFactory({ rpc, rpcSubscriptions })
  await airdrop({
    commitment: 'confirmed', recipientAddress: payer.address, lamports: kit.lamports(BigInt(2 * SOL))
  })
  const leave = new AbortController()
  const news = (await rpcSubscriptions.accountNotifications(to, { commitment: 'confirmed', encoding: 'base64' })
    .subscribe({ abortSignal: leave.signal }))[Symbol.asyncIterator]()
  const next = news.next()
  const { value: latest } = await rpc.getLatestBlockhash().send()
  const data = new Uint8Array(12)
  new DataView(data.buffer).setUint32(0, 2, true)
  new DataView(data.buffer).setBigUint64(4, BigInt(SOL), true)
  const give = {
    programAddress: kit.address('11111111111111111111111111111111'),
    accounts: [
      { address: payer.address, role: kit.AccountRole.WRITABLE_SIGNER, signer: payer },
      { address: to, role: kit.AccountRole.WRITABLE }
    ],
    data
  }
  const message = kit.pipe(
    kit.createTransactionMessage({ version: 0 }),
    (made) => kit.setTransactionMessageFeePayerSigner(payer, made),
    (made) => kit.setTransactionMessageLifetimeUsingBlockhash(latest, made),
    (made) => kit.appendTransactionMessageInstruction(give, made))
  const signed = await kit.signTransactionMessageWithSigners(message)
  const simulated = await rpc.simulateTransaction(
    kit.getBase64EncodedWireTransaction(signed), { encoding: 'base64' }).send()
  await kit.sendAndConfirmTransactionFactory({ rpc, rpcSubscriptions })(
    signed, { commitment: 'confirmed' })
  const signature = kit.getSignatureFromTransaction(signed)
  const heard = (await next).value
  leave.abort()
  const told = await rpc.getTransaction(
    signature, { maxSupportedTransactionVersion: 0, encoding: 'jsonParsed' }).send()
  say({ kit: {
    simulated: simulated.value.err,
    heard: heard.value.lamports,
    balance: (await rpc.getBalance(to).send()).value,
    account: (await kit.fetchEncodedAccount(rpc, to)).lamports,
    keys: told.transaction.message.accountKeys.map((key) => key.pubkey),
    to,
    error: told.meta.err,
    block: (await rpc.getBlock(told.slot, { maxSupportedTransactionVersion: 0, transactionDetails: 'signatures' }).send()).signatures.length,
    epoch: (await rpc.getEpochInfo().send()).epoch,
    programAccounts: (await rpc.getProgramAccounts(give.programAddress, { encoding: 'base64', withContext: true }).send()).value.length,
    tokens: (await rpc.getTokenAccountsByOwner(to, { programId: kit.address('TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA') }, { encoding: 'jsonParsed' }).send()).value.length,
    health: await rpc.getHealth().send()
  } })
  try {
    await rpc.getBalance('nothing').send()
  } catch (error) {
    say({ code: error.context.__code })
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const wanted = JSON.parse(line)
  try {
    if (wanted.web3) await withWeb3(wanted.web3)
    if (wanted.kit) await withKit(wanted.kit)
    say({ done: true })
  } catch (error) {
    say({ failed: String(error.stack ?? JSON.stringify(error)) })
  }
}
process.exit(0)
