from kproxy.kernel.uml.command import main

main()
