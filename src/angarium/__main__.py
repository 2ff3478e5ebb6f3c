from angarium.cli import main

main()
