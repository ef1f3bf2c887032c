// Node.js 20 has no Promise.withResolvers, which js-libp2p takes for granted.
Promise.withResolvers ??= () => {
  const made = {}
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }))
  return made
}
